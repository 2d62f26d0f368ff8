//! What a crate shows of itself: every public item that can be reached from its `lib.rs`, read from the source.

use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::{Attribute, Item, UseTree, Visibility};

use crate::workspace::{self, Failure};

/// A public item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicItem {
    /// `struct`, `trait`, `fn` …; `use` for what another crate defines.
    pub(crate) kind: &'static str,
    /// Its path from the crate's root: `flow::Flow`, and for a method of a trait `Executor::submit`.
    pub(crate) path: String,
    /// Where it is declared.
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
}

/// A module whose source is at hand.
struct Module {
    file: PathBuf,
    /// Where the files of its child modules lie.
    folder: PathBuf,
    items: Vec<Item>,
}

/// Reads the public items of the crate in `folder`, sorted by path.
pub(crate) fn read(folder: &Path) -> Result<Vec<PublicItem>, Failure> {
    let source = folder.join("src");
    let root = load(&source.join("lib.rs"), &source)?;
    let mut found = Vec::new();
    collect(&root, &root, "", &mut found)?;
    found.sort_by(|left, right| (&left.path, left.kind).cmp(&(&right.path, right.kind)));
    Ok(found)
}

fn load(file: &Path, folder: &Path) -> Result<Module, Failure> {
    let text = workspace::read(file)?;
    let parsed = syn::parse_file(&text)
        .map_err(|error| format!("parse `{}`, line {}: {error}", file.display(), error.span().start().line))?;
    Ok(Module { file: file.to_path_buf(), folder: folder.to_path_buf(), items: parsed.items })
}

fn child(parent: &Module, declaration: &syn::ItemMod) -> Result<Module, Failure> {
    let name = declaration.ident.to_string();
    let folder = parent.folder.join(&name);
    match &declaration.content {
        Some((_, items)) => Ok(Module { file: parent.file.clone(), folder, items: items.clone() }),
        None => load(&parent.folder.join(format!("{name}.rs")), &folder),
    }
}

fn collect(root: &Module, module: &Module, prefix: &str, found: &mut Vec<PublicItem>) -> Result<(), Failure> {
    for item in &module.items {
        if is_for_tests(attributes(item)) {
            continue;
        }
        let mut add = |kind, name: &str, at: proc_macro2::Span| {
            let path = format!("{prefix}{name}");
            found.push(PublicItem { kind, path, file: module.file.clone(), line: at.start().line });
        };
        match item {
            Item::Macro(declaration) if exports_macro(declaration) => {
                if let Some(name) = &declaration.ident {
                    add("macro", &name.to_string(), name.span());
                }
            }
            Item::Mod(declaration) if is_public(&declaration.vis) => {
                let name = declaration.ident.to_string();
                add("mod", &name, declaration.ident.span());
                collect(root, &child(module, declaration)?, &format!("{prefix}{name}::"), found)?;
            }
            Item::Trait(declaration) if is_public(&declaration.vis) => {
                let name = declaration.ident.to_string();
                add("trait", &name, declaration.ident.span());
                for member in &declaration.items {
                    if let syn::TraitItem::Fn(method) = member {
                        add("fn", &format!("{name}::{}", method.sig.ident), method.sig.ident.span());
                    }
                }
            }
            Item::Use(declaration) if is_public(&declaration.vis) => {
                let mut names = Vec::new();
                flatten(&declaration.tree, &mut Vec::new(), &mut names);
                for (name, target) in names {
                    add(kind_of(root, module, &target)?, &name, declaration.span());
                }
            }
            item => {
                if let Some((kind, visibility, name)) = plain(item)
                    && is_public(visibility)
                {
                    add(kind, &name.to_string(), name.span());
                }
            }
        }
    }
    Ok(())
}

/// An item that has a name, a visibility and nothing below it that counts.
fn plain(item: &Item) -> Option<(&'static str, &Visibility, &syn::Ident)> {
    match item {
        Item::Const(item) => Some(("const", &item.vis, &item.ident)),
        Item::Enum(item) => Some(("enum", &item.vis, &item.ident)),
        Item::Fn(item) => Some(("fn", &item.vis, &item.sig.ident)),
        Item::Static(item) => Some(("static", &item.vis, &item.ident)),
        Item::Struct(item) => Some(("struct", &item.vis, &item.ident)),
        Item::Trait(item) => Some(("trait", &item.vis, &item.ident)),
        Item::TraitAlias(item) => Some(("trait", &item.vis, &item.ident)),
        Item::Type(item) => Some(("type", &item.vis, &item.ident)),
        Item::Union(item) => Some(("union", &item.vis, &item.ident)),
        _ => None,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

fn exports_macro(declaration: &syn::ItemMacro) -> bool {
    declaration.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"))
}

/// Each name that a `use` brings in, with the path it stands for. A glob is called `*`.
fn flatten(tree: &UseTree, path: &mut Vec<String>, names: &mut Vec<(String, Vec<String>)>) {
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            flatten(&inner.tree, path, names);
            path.pop();
        }
        UseTree::Name(name) => names.push((name.ident.to_string(), [&path[..], &[name.ident.to_string()]].concat())),
        UseTree::Rename(name) => {
            names.push((name.rename.to_string(), [&path[..], &[name.ident.to_string()]].concat()));
        }
        UseTree::Glob(_) => names.push(("*".to_owned(), [&path[..], &["*".to_owned()]].concat())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, path, names)),
    }
}

/// What a re-exported path is, when this crate defines it; `use` otherwise.
fn kind_of(root: &Module, here: &Module, target: &[String]) -> Result<&'static str, Failure> {
    let (mut module, mut path) = match target.split_first() {
        Some((first, rest)) if first == "crate" => (borrow(root), rest),
        Some((first, rest)) if first == "self" => (borrow(here), rest),
        _ => (borrow(here), target),
    };
    while let [name, rest @ ..] = path {
        if rest.is_empty() {
            let named = module.items.iter().filter_map(plain).find(|(_, _, found)| *found == name);
            return Ok(named.map_or("use", |(kind, _, _)| kind));
        }
        let declaration = module.items.iter().find_map(|item| match item {
            Item::Mod(declaration) if declaration.ident == name => Some(declaration.clone()),
            _ => None,
        });
        let Some(declaration) = declaration else { return Ok("use") };
        module = child(&module, &declaration)?;
        path = rest;
    }
    Ok("use")
}

fn borrow(module: &Module) -> Module {
    Module { file: module.file.clone(), folder: module.folder.clone(), items: module.items.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture;

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let folder = fixture::folder(files);
        let found: Vec<_> =
            read(folder.path()).unwrap().iter().map(|item| format!("{} {}", item.kind, item.path)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_kind_of_public_item_is_listed() {
        let text = "pub struct A; pub enum B {} pub fn c() {} pub const D: u8 = 1; pub type E = u8;\n\
                    pub static F: u8 = 1; pub trait G { fn one(&self); type H; }\n\
                    #[macro_export] macro_rules! i { () => {} } macro_rules! j { () => {} }\n\
                    pub(crate) struct K; struct L; impl A { pub fn method() {} }";
        check(
            &[("src/lib.rs", text)],
            &["struct A", "enum B", "const D", "type E", "static F", "trait G", "fn G::one", "fn c", "macro i"],
        );
    }

    #[test]
    fn public_modules_are_followed_and_others_are_not() {
        check(
            &[
                ("src/lib.rs", "pub mod a; pub(crate) mod b; mod c; pub mod d { pub mod e; }"),
                ("src/a.rs", "pub struct One; pub mod deep;"),
                ("src/a/deep.rs", "pub fn two() {}"),
                ("src/b.rs", "pub struct Three;"),
                ("src/c.rs", "pub struct Four;"),
                ("src/d/e.rs", "pub struct Five;"),
            ],
            &["mod a", "struct a::One", "mod a::deep", "fn a::deep::two", "mod d", "mod d::e", "struct d::e::Five"],
        );
    }

    #[test]
    fn a_re_export_is_listed_as_what_it_is() {
        check(
            &[
                ("src/lib.rs", "mod a; pub use a::{One, deep::Two as Zwei}; pub use other::Three; pub use other::*;"),
                ("src/a.rs", "pub struct One; pub mod deep { pub trait Two {} }"),
            ],
            &["use *", "struct One", "use Three", "trait Zwei"],
        );
    }

    #[test]
    fn what_only_tests_see_is_left_out() {
        check(&[("src/lib.rs", "#[cfg(test)] pub mod tests; #[cfg(test)] pub fn fixture() {}")], &[]);
    }
}
