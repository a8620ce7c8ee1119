"""The fault-injection suite: `make faults`, `make faults SEED=17`.

Server processes on a Postgres of the suite's own, a scripted model behind HTTP, people who
send messages and send them again when they fail; and seeded faults in between. After each
scenario the tables are asked whether anything was lost or done twice.
"""
