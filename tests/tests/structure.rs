//! The structure of the source files: which files of a crate use each other in cycles.
//!
//! A file that lies in a cycle cannot be read, tested or moved without the others. The limits below only ever go down.

#[path = "structure/crate_files.rs"]
mod crate_files;
#[path = "structure/cycles.rs"]
mod cycles;
#[path = "structure/paths.rs"]
mod paths;
#[path = "structure/resolve.rs"]
mod resolve;

use std::collections::BTreeSet;
use std::path::Path;

use crate_files::CrateFiles;
use kern_tests::scale;

/// The most files that a cycle may have, and the most folders whose files it may join, by crate.
struct Limits {
    package: &'static str,
    largest: usize,
    folders: usize,
}

/// The goal is 8 files and one folder for each crate.
const LIMITS: &[Limits] = &[
    Limits { package: "kern-macros", largest: 2, folders: 2 },
    Limits { package: "kern-db", largest: 9, folders: 3 },
    Limits { package: "kern", largest: 17, folders: 6 },
];

/// The folder of a file: a module's own file `x.rs` beside a folder `x` belongs to the folder that it lies in.
fn folder(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

#[test]
fn files_that_use_each_other_stay_few() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let mut broken = Vec::new();
    for limits in LIMITS {
        let files = CrateFiles::read(&workspace.join(limits.package));
        let cycles = cycles::find(&resolve::imports(&files));
        let name = |file: &usize| files.files[*file].display().to_string();
        let folders = |cycle: &[usize]| {
            cycle.iter().map(|file| folder(&files.files[*file]).to_owned()).collect::<BTreeSet<_>>().len()
        };
        let largest = cycles.iter().map(Vec::len).max().unwrap_or(1);
        let across = cycles.iter().map(|cycle| folders(cycle)).max().unwrap_or(1);
        let count: usize = cycles.iter().map(Vec::len).sum();
        scale::figure(
            &format!("import cycles of {}", limits.package),
            format!(
                "{} of {} files lie in {} cycles; the largest has {largest} files, and the widest joins {across} folders",
                count,
                files.files.len(),
                cycles.len()
            ),
        );
        let list = || {
            let lines = cycles.iter().map(|cycle| cycle.iter().map(name).collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>().join("\n")
        };
        if largest > limits.largest || across > limits.folders {
            broken.push(format!(
                "{}: a cycle of {largest} files (limit {}), or of {across} folders (limit {}):\n{}",
                limits.package,
                limits.largest,
                limits.folders,
                list()
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
