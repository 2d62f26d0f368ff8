//! `testmesh schema`: the JSON Schema of flow files, for editors.

use testmesh_runner::flow::json_schema;

use crate::console::Screen;
use crate::exit::Exit;

/// Prints the schema.
pub(crate) fn schema(screen: &mut Screen) -> Exit {
    let text = serde_json::to_string_pretty(&json_schema()).expect("a JSON value is JSON");
    screen.print(&format!("{text}\n"));
    Exit::Passed
}
