//! The description of `browser`: what validation checks, and what the reference shows.

use crate::action::{ActionSpec, Example, Field, Kind, ResultField};

const fn optional(name: &'static str, aliases: &'static [&'static str], kind: Kind, doc: &'static str) -> Field {
    Field { name, aliases, kind, required: false, default: None, doc }
}

const fn result(name: &'static str, kind: &'static str, doc: &'static str) -> ResultField {
    ResultField { name, kind, doc }
}

const SELECTOR: Field = optional("selector", &[], Kind::Text, "The element.");
const BY_SELECTOR: Kind = Kind::OneOf(&[Kind::Text, Kind::Object(&[SELECTOR])]);
const FIELDS: Kind = Kind::Map(&Kind::Any);

const EXPECT: Kind = Kind::OneOf(&[
    Kind::Text,
    Kind::Object(&[
        optional("selector", &[], Kind::Text, "The element that must be there and be seen."),
        optional("text", &[], Kind::Text, "Its whole text."),
        optional("contains", &[], Kind::Text, "A part of its text."),
        optional("value", &[], Kind::Text, "What is typed in it."),
        optional("visible", &[], Kind::Boolean, "`false`: it must not be seen."),
        optional("count", &[], Kind::Integer { min: 0, max: 1_000_000 }, "How many of them there must be."),
        optional("title", &[], Kind::Text, "The page's title."),
        optional("url", &[], Kind::Text, "A part of the page's URL."),
    ]),
]);

const STEP: Kind = Kind::OneOf(&[
    Kind::Object(&[
        optional("goto", &[], Kind::Text, "Opens a URL and waits until the page is loaded."),
        optional("click", &[], BY_SELECTOR, "Clicks an element, once it can be seen and nothing covers it."),
        optional("fill", &[], FIELDS, "Types into fields: a map of selectors to texts, or `{selector, value}`."),
        optional("select", &[], FIELDS, "Chooses options of lists by value or label: as `fill`."),
        optional("check", &[], BY_SELECTOR, "Ticks a box."),
        optional("uncheck", &[], BY_SELECTOR, "Takes the tick away."),
        optional("hover", &[], BY_SELECTOR, "Moves the mouse over an element."),
        optional(
            "press",
            &[],
            Kind::OneOf(&[Kind::Text, Kind::Object(&[optional("key", &[], Kind::Text, "The key."), SELECTOR])]),
            "Presses a key: `Enter`, `a`, `Control+a`; in an element when there is a `selector`.",
        ),
        optional("expect", &[], EXPECT, "Waits until the page is as expected: a selector to be seen, or a map."),
        optional(
            "evaluate",
            &[],
            Kind::OneOf(&[Kind::Text, Kind::Map(&Kind::Text)]),
            "Evaluates JavaScript in the page; a map gives names to values. They are in `values`.",
        ),
        optional(
            "screenshot",
            &[],
            Kind::OneOf(&[
                Kind::Boolean,
                Kind::Object(&[
                    SELECTOR,
                    optional(
                        "full_page",
                        &[],
                        Kind::Boolean,
                        "Whether all of the page is in it, not the window alone.",
                    ),
                ]),
            ]),
            "Takes a picture, of the window, of an element or of the whole page.",
        ),
        optional("back", &[], Kind::Boolean, "Goes back to the page before."),
        optional("reload", &[], Kind::Boolean, "Loads the page anew."),
    ]),
    Kind::Choice(&["back", "reload", "screenshot"]),
]);

pub(super) static SPEC: ActionSpec = ActionSpec {
    name: "browser",
    aliases: &["browser_test"],
    summary: "Does things with a page in a browser, and looks at it.",
    description: "A run has one browser, a Chromium without a window on an empty profile, which its `browser` steps share: \
                  the next one goes on where this one ended, with its cookies. It is started when it is first needed and \
                  killed at the end of the run.\n\n\
                  Elements are named by CSS selectors, by `text=` with their text, or by `xpath=`. Each thing to do waits \
                  until its element is ready for it. When something cannot be done or is not as expected, the step fails \
                  with a picture of the page.\n\n\
                  Every connection of the browser obeys the network policy. Downloads are refused, dialogs are accepted.\n\n\
                  Chromium must be installed (Debian: `apt install chromium`). On a server there is no browser unless the \
                  setting `browser` names one.",
    config: &[
        Field {
            required: true,
            ..optional("steps", &["script"], Kind::List(&STEP), "What to do, one thing after the other.")
        },
        optional("url", &[], Kind::Text, "A page to open first."),
        Field {
            default: Some("5s"),
            ..optional(
                "wait",
                &[],
                Kind::Duration { zero: true },
                "How long each thing to do waits for the page to be ready for it.",
            )
        },
        optional(
            "viewport",
            &[],
            Kind::Object(&[
                Field {
                    default: Some("1280"),
                    ..optional("width", &[], Kind::Integer { min: 1, max: 8192 }, "Pixels.")
                },
                Field {
                    default: Some("720"),
                    ..optional("height", &[], Kind::Integer { min: 1, max: 8192 }, "Pixels.")
                },
            ]),
            "The size of the window.",
        ),
        Field {
            default: Some("true"),
            ..optional("verify_tls", &[], Kind::Boolean, "Whether servers' certificates are checked.")
        },
        Field {
            default: Some("the step's own"),
            ..optional("timeout", &[], Kind::Duration { zero: false }, "The time for everything together.")
        },
    ],
    open_config: false,
    result: &[
        result("title", "string", "The title of the page, at the end."),
        result("url", "string", "Its URL."),
        result("text", "string", "Its text, as it can be read."),
        result("values", "map", "What was evaluated, by name; `value` when it has none."),
        result(
            "screenshot",
            "bytes",
            "The last picture, a PNG, or a JPEG where a PNG would be too large to be kept; null when none was taken.",
        ),
        result("duration_ms", "integer", "How long it took, in milliseconds."),
    ],
    open_result: false,
    reserved: &[],
    examples: &[Example {
        title: "Sign in and look around",
        yaml: "- action: browser\n  config:\n    steps:\n      - goto: http://localhost:8080/login\n      - fill: {\"#email\": \
               ada@example.com, \"#password\": \"a secret\"}\n      - click: text=Sign in\n      - expect: {selector: h1, text: \
               \"Welcome, Ada\"}\n      - evaluate: {orders: \"document.querySelectorAll('.order').length\"}\n      - \
               screenshot\n  assert:\n    - title == \"Shop\"\n    - values.orders == 2\n",
    }],
};
