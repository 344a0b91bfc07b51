//! The results that come with the repository: readable, and the charts and the report are theirs.

use std::path::Path;

use crate::support::*;

#[test]
fn committed_results_are_whole_and_redraw_to_the_same_bytes() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/reference");
    if !committed.is_dir() {
        eprintln!("there are no committed results");
        return;
    }
    let copy = temporary();
    copy_folder(&committed, copy.path());
    let before = content(copy.path());
    // Beside them lie what the benches and the instrument cost, and the book.
    let is_record = |path: &&std::path::PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("lab") && name.ends_with(".json"))
    };
    let records = before.keys().filter(is_record);
    let mut count = 0;
    for path in records {
        let record = read_json(path);
        assert_fits_schema(&record);
        assert_books_close(&record);
        assert_eq!(record["interrupted"], false, "{path:?}");
        assert_eq!(record["host"]["build"], "release", "{path:?}");
        count += 1;
    }
    assert!(count > 0, "no records in {committed:?}");
    labs_with(&["verdicts"], &[copy.path()]).expect(0);
    labs_with(&["charts"], &[copy.path()]).expect(0);
    labs_with(&["report"], &[copy.path()]).expect(0);
    assert_same(&before, &content(copy.path()));
}
