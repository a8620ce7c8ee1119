"""The same in other languages: Spanish, German, Urdu, Chinese."""

from backend.evals.case import TOMORROW, Seed, case, new

SPANISH = {"compra": Seed("Comprar leche"), "banco": Seed("Llamar al banco")}
GERMAN = {"miete": Seed("Miete bezahlen"), "milch": Seed("Milch kaufen")}
URDU = {"doodh": Seed("دودھ خریدنا"), "bank": Seed("بینک کو فون کرنا")}
CHINESE = {"milk": Seed("买牛奶"), "bank": Seed("给银行打电话")}

CASES = (
    case("es add", "languages", "Añade comprar pan", added=new("pan")),
    case(
        "es tomorrow",
        "languages",
        "Recuérdame llamar a mamá mañana",
        added=new("mam", due=TOMORROW),
    ),
    case("es complete", "languages", "Ya compré la leche", seeds=SPANISH, done="compra"),
    case("es delete", "languages", "Borra la tarea del banco", seeds=SPANISH, deleted="banco"),
    case("es show", "languages", "¿Qué tengo pendiente?", seeds=SPANISH, shows=tuple(SPANISH)),
    case("de add", "languages", "Füge Brot kaufen hinzu", added=new("brot")),
    case(
        "de tomorrow",
        "languages",
        "Erinnere mich morgen an den Zahnarzt",
        added=new("zahnarzt", due=TOMORROW),
    ),
    case("de complete", "languages", "Die Miete ist bezahlt", seeds=GERMAN, done="miete"),
    case("de delete", "languages", "Lösche die Milch", seeds=GERMAN, deleted="milch"),
    case("de thanks", "languages", "Danke schön!", seeds=GERMAN),
    case("ur add", "languages", "میری فہرست میں روٹی خریدنا شامل کریں", added=new("روٹی")),
    case("ur complete", "languages", "میں نے دودھ خرید لیا", seeds=URDU, done="doodh"),
    case("ur show", "languages", "میرے کام دکھاؤ", seeds=URDU, shows=tuple(URDU)),
    case("zh add", "languages", "添加买面包", added=new("面包")),
    case("zh tomorrow", "languages", "提醒我明天给妈妈打电话", added=new("妈妈", due=TOMORROW)),
    case("zh complete", "languages", "我已经买了牛奶", seeds=CHINESE, done="milk"),
    case("zh delete", "languages", "删除给银行打电话", seeds=CHINESE, deleted="bank"),
)
