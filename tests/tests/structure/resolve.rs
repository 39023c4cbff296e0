//! Follows a path to the file that defines its item, through re-exports.

use std::collections::BTreeSet;

use crate::crate_files::{CrateFiles, Names};

/// The deepest chain of re-exports that is followed. Two modules may bring in each other's names.
const DEEPEST: usize = 16;

/// The files that each file uses, itself aside.
pub(crate) fn imports(files: &CrateFiles) -> Vec<BTreeSet<usize>> {
    let mut imports = vec![BTreeSet::new(); files.files.len()];
    for (path, module) in &files.modules {
        for used in &module.used {
            if let Some(file) = resolve(files, path, used, 0, Unknown::IsThere)
                && file != module.file
            {
                imports[module.file].insert(file);
            }
        }
    }
    imports
}

/// The root of the crate that a module belongs to: a program has one of its own.
fn root(module: &[String]) -> Names {
    module.iter().take(usize::from(module.first().is_some_and(|name| name.starts_with("bin ")))).cloned().collect()
}

/// What a name means that a module does not define in its own words.
#[derive(Clone, Copy)]
enum Unknown {
    /// A macro defines it there: the path was written for this module.
    IsThere,
    /// It is elsewhere: the module is one of several that were brought in as a whole.
    IsElsewhere,
}

/// The file that defines what a path names, seen from a module. `None`: it is of another crate.
fn resolve(files: &CrateFiles, from: &Names, path: &[String], depth: usize, unknown: Unknown) -> Option<usize> {
    if depth > DEEPEST {
        return None;
    }
    let mut at = from.clone();
    let mut rest = path;
    match rest.first().map(String::as_str) {
        Some("crate") => (at, rest) = (root(from), &rest[1..]),
        Some("self") => rest = &rest[1..],
        Some("super") => {
            at.pop();
            rest = &rest[1..];
        }
        // Of this module, or another crate.
        Some(first) => {
            let module = files.modules.get(from)?;
            let child: Names = from.iter().cloned().chain([first.to_owned()]).collect();
            let is_own = files.modules.contains_key(&child)
                || module.items.iter().any(|item| item == first)
                || module.aliases.get(first).is_some_and(|alias| alias.as_slice() != path);
            if !is_own {
                return None;
            }
        }
        None => {}
    }
    while rest.first().is_some_and(|name| name == "super") {
        at.pop();
        rest = &rest[1..];
    }
    loop {
        let module = files.modules.get(&at)?;
        let Some((name, below)) = rest.split_first() else { return Some(module.file) };
        let child: Names = at.iter().cloned().chain([name.clone()]).collect();
        if files.modules.contains_key(&child) {
            (at, rest) = (child, below);
            continue;
        }
        if module.items.contains(name) {
            return Some(module.file);
        }
        if let Some(alias) = module.aliases.get(name) {
            let target: Names = alias.iter().chain(below).cloned().collect();
            return resolve(files, &at, &target, depth + 1, Unknown::IsThere);
        }
        let through = module.globs.iter().find_map(|glob| {
            let target: Names = glob.iter().chain(rest).cloned().collect();
            resolve(files, &at, &target, depth + 1, Unknown::IsElsewhere)
        });
        return through.or(match unknown {
            Unknown::IsThere => Some(module.file),
            Unknown::IsElsewhere => None,
        });
    }
}
