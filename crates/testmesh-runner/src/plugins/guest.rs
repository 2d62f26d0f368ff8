//! Plugins for tests: a core module from its text, made a component as tool chains do it.

#![allow(clippy::unwrap_used, reason = "a test whose plugin cannot be made should fail, and say where")]

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::WIT;

/// A plugin.
pub struct Guest<'a> {
    /// The capabilities that it asks for.
    pub asks: &'a [&'a str],
    /// Its actions: name and schema.
    pub actions: &'a [(&'a str, &'a str)],
    /// What `run` does: instructions that see `$action`, `$config` and their lengths `$n_action`, `$n_config`, may call `$ok`
    /// and `$fail`, and leave where the answer is.
    pub run: &'a str,
    /// Instructions before it describes itself.
    pub describing: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self { asks: &[], actions: &[("echo", "{}")], run: ECHO, describing: "" }
    }
}

/// Gives back its configuration.
pub const ECHO: &str = "(call $ok (local.get $config) (local.get $n_config))";
/// Reads the file in `{"path":"…"}` and gives back what is in it.
pub const READ: &str = r"
    (call $read
        (i32.add (local.get $config) (i32.const 9)) (i32.sub (local.get $n_config) (i32.const 11)) (i32.const 128))
    (if (result i32) (i32.load8_u (i32.const 128))
        (then (call $fail (i32.load8_u (i32.const 132)) (i32.load (i32.const 136)) (i32.load (i32.const 140))))
        (else (call $ok (i32.load (i32.const 132)) (i32.load (i32.const 136)))))";
/// Never ends.
pub const FOREVER: &str = "(loop $again (br $again)) (unreachable)";
/// Requests the URL in `{"url":"…"}` and gives back the answer's body.
pub const REQUEST: &str = r"
    (call $send (i32.const 64) (i32.const 3)
        (i32.add (local.get $config) (i32.const 8)) (i32.sub (local.get $n_config) (i32.const 10))
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 128))
    (if (result i32) (i32.load8_u (i32.const 128))
        (then (call $fail (i32.load8_u (i32.const 132)) (i32.load (i32.const 136)) (i32.load (i32.const 140))))
        (else (call $ok (i32.load (i32.const 144)) (i32.load (i32.const 148)))))";
/// Connects to 127.0.0.1 at the port PORT, sends its configuration, and gives back what comes.
pub const EXCHANGE: &str = r"
    (i64.store (i32.const 160) (i64.const 0x2e302e302e373231)) (i32.store8 (i32.const 168) (i32.const 49))
    (call $open (i32.const 160) (i32.const 9) (i32.const PORT) (i32.const 0) (i32.const 128))
    (if (i32.load8_u (i32.const 128)) (then (return
        (call $fail (i32.load8_u (i32.const 132)) (i32.load (i32.const 136)) (i32.load (i32.const 140))))))
    (i32.store (i32.const 172) (i32.load (i32.const 132)))
    (call $transmit (i32.load (i32.const 172)) (local.get $config) (local.get $n_config) (i32.const 128))
    (if (i32.load8_u (i32.const 128)) (then (unreachable)))
    (call $receive (i32.load (i32.const 172)) (i32.const 1000) (i32.const 128))
    (if (i32.load8_u (i32.const 128)) (then (unreachable)))
    (call $close (i32.load (i32.const 172)))
    (call $ok (i32.load (i32.const 132)) (i32.load (i32.const 136)))";

/// What every plugin has: where answers go, and memory for what it is given.
const FRAME: &str = r#"
(module
  (import "testmesh:plugin/log@1.0.0" "write" (func $log (param i32 i32 i32)))
  (import "testmesh:plugin/http@1.0.0" "send"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "testmesh:plugin/files@1.0.0" "read" (func $read (param i32 i32 i32)))
  (import "testmesh:plugin/tcp@1.0.0" "[static]connection.open" (func $open (param i32 i32 i32 i32 i32)))
  (import "testmesh:plugin/tcp@1.0.0" "[method]connection.read" (func $receive (param i32 i32 i32)))
  (import "testmesh:plugin/tcp@1.0.0" "[method]connection.write" (func $transmit (param i32 i32 i32 i32)))
  (import "testmesh:plugin/tcp@1.0.0" "[resource-drop]connection" (func $close (param i32)))
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 131072))
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 64) "GET")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (loop $grow
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.const 16))) (br $grow))))
    (local.get $at))
  (func $ok (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (local.get $at))
    (i32.store (i32.const 24) (local.get $length))
    (i32.const 16))
  (func $fail (param $kind i32) (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store8 (i32.const 20) (local.get $kind))
    (i32.store (i32.const 24) (local.get $at))
    (i32.store (i32.const 28) (local.get $length))
    (i32.const 16))
  (func (export "run") (param $action i32) (param $n_action i32) (param $config i32) (param $n_config i32) (result i32)
    RUN)
  (func (export "describe") (result i32)
    DESCRIBING
    (i32.const RECORD))
  DATA)
"#;

impl Guest<'_> {
    /// The component.
    pub fn component(&self) -> Vec<u8> {
        let mut data = Data { text: String::new(), next: 1024 };
        let version = data.text("1.2.3");
        let summary = data.text("A plugin of the tests.");
        let asks: Vec<u32> = self.asks.iter().flat_map(|word| data.text(word)).collect();
        let asks = [data.words(&asks), u32::try_from(self.asks.len()).unwrap()];
        let mut actions = Vec::new();
        for (name, schema) in self.actions {
            actions.extend([data.text(name), data.text("Does it."), data.text(schema)].concat());
        }
        let actions = [data.words(&actions), u32::try_from(self.actions.len()).unwrap()];
        let record = data.words(&[version, summary, asks, actions].concat());
        let module = FRAME
            .replace("RUN", self.run)
            .replace("DESCRIBING", self.describing)
            .replace("RECORD", &record.to_string())
            .replace("DATA", &data.text);
        let mut module = wat::parse_str(&module).unwrap();
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", WIT).unwrap();
        let world = resolve.select_world(&[package], Some("plugin")).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }

    /// Writes `<name>.wasm`.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.wasm")), self.component()).unwrap();
    }
}

/// The constant data of a module.
struct Data {
    text: String,
    next: u32,
}

impl Data {
    /// Where a text is, and how long it is.
    fn text(&mut self, text: &str) -> [u32; 2] {
        [self.bytes(text.as_bytes()), u32::try_from(text.len()).unwrap()]
    }

    /// Where a row of numbers is.
    fn words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) -> u32 {
        let at = self.next;
        let escaped = bytes.iter().fold(String::new(), |mut escaped, byte| {
            let _ = write!(escaped, "\\{byte:02x}");
            escaped
        });
        let _ = writeln!(self.text, "(data (i32.const {at}) \"{escaped}\")");
        self.next = (at + u32::try_from(bytes.len()).unwrap()).next_multiple_of(8);
        at
    }
}
