// Better Auth as a front end runs it, on a database that the first argument names as JSON for `pg`.
//
// It stands several times on one origin, each with a path, options and keys of its own. Beside
// it, POST /sign has it sign whatever claims the body holds. It ends when its standard input does.

import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { bearer, jwt } from "better-auth/plugins";
import pg from "pg";

const { secret, ...database } = JSON.parse(process.argv[2]);
const pool = new pg.Pool({ ...database, max: 4 });

const RENAMED = {
  session: { modelName: "sessions", fields: { token: "secret", userId: "user_id", expiresAt: "expires_at" } },
};
const VARIANTS = {
  "/api/auth": {},
  "/secure": { options: { advanced: { useSecureCookies: true } } },
  "/renamed": { options: RENAMED },
  "/es256": { keys: { alg: "ES256" } },
  "/es512": { keys: { alg: "ES512" } },
  "/ps256": { keys: { alg: "PS256" } },
  "/rs256": { keys: { alg: "RS256" } },
};

function variant(origin, basePath, { options = {}, keys }) {
  const modelName = `jwks${basePath.replaceAll("/", "_")}`;
  return betterAuth({
    baseURL: origin,
    basePath,
    secret,
    database: pool,
    emailAndPassword: { enabled: true },
    telemetry: { enabled: false },
    plugins: [
      bearer(),
      jwt({ jwks: { keyPairConfig: keys }, schema: { jwks: { modelName } } }),
    ],
    ...options,
  });
}

async function sign(auth, request, response) {
  const chunks = await request.toArray();
  const payload = JSON.parse(Buffer.concat(chunks).toString());
  response.end(JSON.stringify(await auth.api.signJWT({ body: { payload } })));
}

const server = createServer();
server.listen(0, "127.0.0.1", async () => {
  const origin = `http://127.0.0.1:${server.address().port}`;
  const handlers = {};
  for (const [path, how] of Object.entries(VARIANTS)) {
    const auth = variant(origin, path, how);
    await (await getMigrations(auth.options)).runMigrations();
    handlers[path] = toNodeHandler(auth);
    if (path === "/api/auth") handlers["/sign"] = (...call) => sign(auth, ...call);
  }
  server.on("request", (request, response) => {
    const path = Object.keys(handlers).find((prefix) => request.url.startsWith(prefix));
    if (path) handlers[path](request, response);
    else response.writeHead(404).end();
  });
  console.log(`Serving at ${origin}`);
});

process.stdin.on("end", () => process.exit()).resume();
