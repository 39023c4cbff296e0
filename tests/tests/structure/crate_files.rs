//! The source files of a crate and the modules in them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, Meta, UseTree, Visibility};

use crate::paths;

/// A path of names, as it is written after `crate::`.
pub(crate) type Names = Vec<String>;

/// A module: the items that it defines, and the names that it brings in.
#[derive(Default)]
pub(crate) struct Module {
    /// The file it is written in.
    pub(crate) file: usize,
    /// The names of its own items, modules aside.
    pub(crate) items: Vec<String>,
    /// The names that it brings in, public ones among them, with the paths that they stand for.
    pub(crate) aliases: HashMap<String, Names>,
    /// The paths whose names it brings in all together.
    pub(crate) globs: Vec<Names>,
    /// Every path in it that begins with `crate`, `super` or `self`.
    pub(crate) used: Vec<Names>,
}

/// The source files of a crate. Code that only tests compile is left out.
pub(crate) struct CrateFiles {
    /// The paths of the files below `src`.
    pub(crate) files: Vec<PathBuf>,
    /// The modules by their path. The root of a program is below its name, which no module has.
    pub(crate) modules: HashMap<Names, Module>,
}

impl CrateFiles {
    /// Reads the library of a package and its programs.
    pub(crate) fn read(package: &Path) -> Self {
        let source = package.join("src");
        let mut read = Self { files: Vec::new(), modules: HashMap::new() };
        read.file(&source, Path::new("lib.rs"), &Names::new(), Path::new(""));
        let programs = fs::read_dir(source.join("bin")).into_iter().flatten();
        for program in programs.map(|entry| entry.expect("the folder can be read").path()) {
            let name = program.file_stem().and_then(|name| name.to_str()).expect("a program has a name").to_owned();
            let folder = Path::new("bin").join(&name);
            let root = if program.is_dir() { folder.join("main.rs") } else { folder.with_extension("rs") };
            read.file(&source, &root, &vec![format!("bin {name}")], &folder);
        }
        assert!(read.files.len() > 1, "{} has a single source file", package.display());
        read
    }

    /// Reads a file. Its modules lie in the files of `folder`.
    fn file(&mut self, source: &Path, path: &Path, module: &Names, folder: &Path) {
        let text = fs::read_to_string(source.join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.files.push(path.to_owned());
        self.module(source, module, self.files.len() - 1, folder, &parsed.items);
    }

    fn module(&mut self, source: &Path, path: &Names, file: usize, folder: &Path, items: &[Item]) {
        let mut module = Module { file, ..Module::default() };
        for item in items.iter().filter(|item| !is_for_tests(paths::attributes(item))) {
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    let child_path: Names = path.iter().cloned().chain([name.clone()]).collect();
                    match &child.content {
                        Some((_, items)) => self.module(source, &child_path, file, &folder.join(&name), items),
                        None => {
                            let below = folder.join(&name);
                            let own = below.with_extension("rs");
                            let own = if source.join(&own).is_file() { own } else { below.join("mod.rs") };
                            self.file(source, &own, &child_path, &below);
                        }
                    }
                }
                Item::Use(used) => {
                    bring_in(&mut module, &used.tree, &mut Names::new());
                    // A private `use` is a use of its own; a public one is followed from where it is used.
                    if matches!(used.vis, Visibility::Inherited) {
                        module.used.extend(paths::of(item));
                    }
                }
                other => {
                    module.items.extend(paths::name(other));
                    module.used.extend(paths::of(other));
                }
            }
        }
        self.modules.insert(path.clone(), module);
    }
}

/// Whether only tests compile this.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test") || condition.starts_with("all(test")
        }
        _ => false,
    })
}

/// Every name of a `use`, with what it stands for.
fn bring_in(module: &mut Module, tree: &UseTree, before: &mut Names) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            bring_in(module, &path.tree, before);
            before.pop();
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            let target: Names = before.iter().cloned().chain((name != "self").then(|| name.clone())).collect();
            let known = if name == "self" { before.last().cloned().unwrap_or(name) } else { name };
            module.aliases.insert(known, target);
        }
        UseTree::Rename(rename) => {
            let name = rename.ident.to_string();
            let target = before.iter().cloned().chain((name != "self").then_some(name)).collect();
            module.aliases.insert(rename.rename.to_string(), target);
        }
        UseTree::Glob(_) => module.globs.push(before.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| bring_in(module, tree, before)),
    }
}

/// The paths that a `use` names.
pub(crate) fn leaves(tree: &UseTree) -> Vec<Names> {
    match tree {
        UseTree::Path(path) => {
            let below = leaves(&path.tree).into_iter();
            below.map(|rest| [path.ident.to_string()].into_iter().chain(rest).collect()).collect()
        }
        UseTree::Name(name) if name.ident == "self" => vec![Names::new()],
        UseTree::Name(name) => vec![vec![name.ident.to_string()]],
        UseTree::Rename(rename) if rename.ident == "self" => vec![Names::new()],
        UseTree::Rename(rename) => vec![vec![rename.ident.to_string()]],
        UseTree::Glob(_) => vec![Names::new()],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}
