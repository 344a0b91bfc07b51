//! What students hand in: folders, `.zip`, `.tar.gz` and `.tar` archives, single records.
//!
//! Everything is read in memory and nothing is ever written, so that no path of an archive can lead
//! anywhere. Only files called `labNN.json` are read, each with a limit; how much an archive may unpack
//! to is limited as well, whatever it says about itself.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

/// Largest record that is read, in bytes: the largest lab at full scale writes four megabytes.
const RECORD: u64 = 16 << 20;
/// Largest archive inside an archive, in bytes.
const INNER: u64 = 64 << 20;
/// Most bytes that an archive may unpack to.
const UNPACKED: u64 = 2 << 30;
/// Most files in an archive.
const ENTRIES: usize = 100_000;
/// Longest path in a tar archive, in bytes.
const PATH: u64 = 4096;

/// A file called `labNN.json`, or what stands for one.
pub struct Found {
    /// The folder inside the archive; empty at its top and outside of archives.
    pub set: String,
    /// The file's name: "lab03.json".
    pub file: String,
    /// Its text, or why it was not read.
    pub text: Result<String>,
}

/// The result sets that these paths lead to: a folder of records, an archive or a record is one; a
/// folder without records stands for what is in it.
pub fn expand(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for path in paths {
        let inside = path.is_dir() && !holds_records(path);
        let entries = if inside { listed(path) } else { Vec::new() };
        let known =
            |p: &PathBuf| p.is_dir() && holds_records(p) || is_archive_name(&p.to_string_lossy());
        let hand_ins: Vec<PathBuf> = entries.into_iter().filter(known).collect();
        if hand_ins.is_empty() {
            sources.push(path.clone());
        }
        sources.extend(hand_ins);
    }
    sources
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}

fn holds_records(dir: &Path) -> bool {
    let is_record = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        is_record_name(&name)
    };
    listed(dir).into_iter().any(is_record)
}

/// "lab03.json".
pub fn is_record_name(name: &str) -> bool {
    let number = name
        .strip_prefix("lab")
        .and_then(|n| n.strip_suffix(".json"));
    number.is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_archive_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".zip", ".tar.gz", ".tgz", ".tar"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Reads one source and hands on each record as it comes: a whole class need not fit into memory.
///
/// # Errors
/// When the source is no result set at all, or breaks off: what was handed on before is good.
pub fn read(path: &Path, each: &mut dyn FnMut(Found)) -> Result<()> {
    let about = fs::metadata(path).context("it cannot be read")?;
    if about.is_dir() {
        return folder(path, each);
    }
    // A pipe would wait for ever.
    ensure!(about.is_file(), "it is neither a file nor a folder");
    let mut head = [0; 512];
    let mut file = File::open(path).context("it cannot be read")?;
    let length = fill(&mut file, &mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let head = &head[..length];
    if head.trim_ascii_start().starts_with(b"{") {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        each(Found {
            set: String::new(),
            file: name.into_owned(),
            text: text(file),
        });
        return Ok(());
    }
    let mut seen = Seen::default();
    archive(file, head, "", true, &mut seen, each)?;
    ensure!(seen.any, "it holds no labNN.json");
    Ok(())
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..])? {
            0 => break,
            n => length += n,
        }
    }
    Ok(length)
}

fn folder(dir: &Path, each: &mut dyn FnMut(Found)) -> Result<()> {
    let mut any = false;
    for path in listed(dir) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !is_record_name(&name) {
            continue;
        }
        any = true;
        let open = || {
            ensure!(path.is_file(), "it is not a plain file");
            text(File::open(&path)?)
        };
        each(Found {
            set: String::new(),
            file: name.into_owned(),
            text: open(),
        });
    }
    ensure!(
        any,
        "it holds neither records (labNN.json) nor archives of them"
    );
    Ok(())
}

/// A record's text, within the limit.
fn text(from: impl Read) -> Result<String> {
    let bytes = bounded(from, RECORD).context("it cannot be read as a record")?;
    String::from_utf8(bytes).context("it cannot be read as text")
}

fn bounded(from: impl Read, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= most,
        "it has more than {} MB",
        most >> 20
    );
    Ok(bytes)
}

/// What has been met in an archive and the archives in it.
#[derive(Default)]
struct Seen {
    any: bool,
    files: HashSet<String>,
    entries: usize,
    unpacked: u64,
}

impl Seen {
    fn entry(&mut self) -> Result<()> {
        self.entries += 1;
        ensure!(self.entries <= ENTRIES, "it has more than {ENTRIES} files");
        Ok(())
    }

    fn unpack(&mut self, bytes: u64) -> Result<()> {
        self.unpacked += bytes;
        ensure!(
            self.unpacked <= UNPACKED,
            "it unpacks to more than {} GB: no result set does",
            UNPACKED >> 30
        );
        Ok(())
    }
}

/// What an entry of an archive is to us.
enum Kind {
    Record {
        set: String,
        file: String,
    },
    Archive(String),
    Refused {
        set: String,
        file: String,
        why: &'static str,
    },
    Other,
}

fn kind(path: &str, inside: &str, deeper: bool) -> Kind {
    let path = path.replace('\\', "/");
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let folder = folder.trim_start_matches("./").trim_matches('/');
    let parts = || folder.split('/');
    let join = |a: &str, b: &str| match (a, b) {
        ("", one) | (one, "") => one.to_string(),
        (a, b) => format!("{a}/{b}"),
    };
    if deeper && is_archive_name(name) && !name.starts_with("._") {
        return Kind::Archive(join(&join(inside, folder), name));
    }
    // Earlier runs belong to the journal; macOS adds a shadow of every file.
    let aside = parts().any(|p| p == "history" || p == "__MACOSX");
    if !is_record_name(name) || aside {
        return Kind::Other;
    }
    let (set, file) = (join(inside, folder), name.to_string());
    if parts().any(|p| p == "..") || path.starts_with('/') {
        let why = "its path leads out of the archive";
        return Kind::Refused { set, file, why };
    }
    Kind::Record { set, file }
}

/// Hands on what one entry holds.
fn take(
    path: &str,
    inside: &str,
    deeper: bool,
    content: &mut dyn Read,
    seen: &mut Seen,
    each: &mut dyn FnMut(Found),
) -> Result<()> {
    match kind(path, inside, deeper) {
        Kind::Other => {}
        Kind::Refused { set, file, why } => {
            seen.any = true;
            each(Found {
                set,
                file,
                text: Err(anyhow::anyhow!(why)),
            });
        }
        Kind::Record { set, file } => {
            seen.any = true;
            let text = if seen.files.insert(format!("{set}/{file}")) {
                text(content)
            } else {
                Err(anyhow::anyhow!("it is in the archive twice"))
            };
            seen.unpack(text.as_ref().map_or(RECORD, |t| t.len() as u64))?;
            each(Found { set, file, text });
        }
        Kind::Archive(name) => {
            let inner = bounded(content, INNER).and_then(|bytes| {
                seen.unpack(bytes.len() as u64)?;
                let head: Vec<u8> = bytes.iter().take(512).copied().collect();
                archive(Cursor::new(bytes), &head, &name, false, seen, each)
            });
            if let Err(why) = inner {
                seen.any = true;
                each(Found {
                    set: name,
                    file: String::new(),
                    text: Err(why),
                });
            }
        }
    }
    Ok(())
}

fn archive<R: Read + Seek>(
    from: R,
    head: &[u8],
    inside: &str,
    deeper: bool,
    seen: &mut Seen,
    each: &mut dyn FnMut(Found),
) -> Result<()> {
    if head.starts_with(b"PK") {
        return zipped(from, inside, deeper, seen, each);
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        let plain = flate2::read::MultiGzDecoder::new(from);
        return tarred(plain, inside, deeper, seen, each);
    }
    if head.get(257..262) == Some(b"ustar") {
        return tarred(from, inside, deeper, seen, each);
    }
    bail!("it is no folder of records, no .zip, .tar.gz or .tar archive and no record")
}

fn zipped<R: Read + Seek>(
    from: R,
    inside: &str,
    deeper: bool,
    seen: &mut Seen,
    each: &mut dyn FnMut(Found),
) -> Result<()> {
    let mut zip = zip::ZipArchive::new(from).context("it is a damaged .zip archive")?;
    ensure!(zip.len() <= ENTRIES, "it has more than {ENTRIES} files");
    for index in 0..zip.len() {
        seen.entry()?;
        let name = zip.name_for_index(index).and_then(Result::ok);
        let Some(name) = name.map(|name| name.into_owned()) else {
            continue;
        };
        match zip.by_index(index) {
            Ok(mut entry) if entry.is_file() && !entry.is_symlink() => {
                take(&name, inside, deeper, &mut entry, seen, each)?;
            }
            Ok(_) => {}
            Err(why) => {
                if let Kind::Record { set, file } = kind(&name, inside, deeper) {
                    seen.any = true;
                    let text = Err(anyhow::Error::from(why));
                    each(Found { set, file, text });
                }
            }
        }
    }
    Ok(())
}

/// A reader that ends with an error when more comes than an archive may unpack to.
struct Metered<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            let gigabytes = UNPACKED >> 30;
            io::Error::other(format!(
                "it unpacks to more than {gigabytes} GB: no result set does"
            ))
        })?;
        Ok(n)
    }
}

fn tarred(
    from: impl Read,
    inside: &str,
    deeper: bool,
    seen: &mut Seen,
    each: &mut dyn FnMut(Found),
) -> Result<()> {
    let left = UNPACKED.saturating_sub(seen.unpacked);
    let mut tar = tar::Archive::new(Metered { from, left });
    // Raw: the entries that carry the long name of the next one have any length they like.
    let mut long = None;
    let mut first = true;
    for entry in tar.entries()?.raw(true) {
        let damaged = if first {
            "it is no .tar archive, or damaged"
        } else {
            "it is a damaged archive"
        };
        let mut entry = entry.context(damaged)?;
        first = false;
        seen.entry()?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            let mut name = bounded(&mut entry, PATH).unwrap_or_default();
            name.retain(|b| *b != 0);
            long = Some(name);
        } else if kind.is_pax_local_extensions() {
            let extensions = bounded(&mut entry, 16 * PATH).unwrap_or_default();
            let known = tar::PaxExtensions::new(&extensions).filter_map(Result::ok);
            long = known
                .filter(|e| e.key_bytes() == b"path")
                .last()
                .map(|e| e.value_bytes().to_vec());
        } else {
            let name = long.take();
            let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
            if kind.is_file() {
                let name = String::from_utf8_lossy(&name).into_owned();
                take(&name, inside, deeper, &mut entry, seen, each)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn tarred(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gz);
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    /// What is handed on: set, file, and its text or why not; then how it ended.
    fn found(name: &str, bytes: &[u8]) -> (Vec<(String, String, String)>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        let end = read(&path, &mut |found| {
            let text = found.text.unwrap_or_else(|why| format!("refused: {why:#}"));
            all.push((found.set, found.file, text));
        });
        // Nothing is unpacked.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        (
            all,
            end.map_or_else(|why| format!("{why:#}"), |()| String::new()),
        )
    }

    fn three(set: &str, file: &str, text: &str) -> (String, String, String) {
        (set.into(), file.into(), text.into())
    }

    #[test]
    fn records_are_told_by_their_names_and_sets_by_their_folders() {
        let entries: &[(&str, &[u8])] = &[
            ("alice/lab03.json", b"a"),
            ("alice/history/lab03.json", b"old"),
            ("alice/charts/lab03-trap.svg", b"chart"),
            ("bob/results/local/lab03.json", b"b"),
            ("__MACOSX/alice/lab03.json", b"shadow"),
            ("alice/lab3.json", b"other"),
        ];
        let expected = [
            three("alice", "lab03.json", "a"),
            three("bob/results/local", "lab03.json", "b"),
        ];
        assert_eq!(
            found("x.zip", &zipped(entries)),
            (expected.to_vec(), String::new())
        );
        assert_eq!(
            found("x.bin", &tarred(entries)),
            (expected.to_vec(), String::new())
        );
    }

    #[test]
    fn archives_in_an_archive_are_read_one_level_deep() {
        let inner = zipped(&[("lab01.json", b"1")]);
        let deeper = zipped(&[("x.zip", &inner)]);
        let bytes = zipped(&[
            ("Bob/local.zip", &inner),
            ("Eve/evil.zip", b"PK no archive"),
            ("Joe/deep.zip", &deeper),
        ]);
        let (all, end) = found("all.zip", &bytes);
        assert_eq!(all[0], three("Bob/local.zip", "lab01.json", "1"));
        assert_eq!((all[1].0.as_str(), all.len()), ("Eve/evil.zip", 2));
        assert!(
            all[1].2.starts_with("refused: it is a damaged .zip"),
            "{all:?}"
        );
        assert_eq!(end, "");
    }

    #[test]
    fn tricks_are_refused_by_name() {
        // Nobody's tar crate writes such a path: it is put into the header by hand.
        let mut header = tar::Header::new_gnu();
        let path = b"../../lab03.json";
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_size(1);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, &b"x"[..]).unwrap();
        let (all, _) = found("x.tar", &tar.into_inner().unwrap());
        assert!(all[0].2.contains("out of the archive"), "{all:?}");

        let (all, _) = found(
            "x.tgz",
            &tarred(&[("lab03.json", b"1"), ("lab03.json", b"2")]),
        );
        assert_eq!(all[0].2, "1");
        assert!(all[1].2.contains("twice"), "{all:?}");

        let large = vec![b' '; RECORD as usize + 1];
        for bytes in [
            zipped(&[("lab03.json", &large)]),
            tarred(&[("lab03.json", &large)]),
        ] {
            assert!(bytes.len() < 200_000, "a bomb is small");
            let (all, _) = found("bomb", &bytes);
            assert!(
                all[0].2.contains("more than 16 MB"),
                "{:?}",
                &all[0].2[..80]
            );
        }
        let mut metered = Metered {
            from: io::repeat(0).take(100),
            left: 50,
        };
        assert!(metered.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn long_names_are_read_and_endless_ones_are_not() {
        let folder = "name ".repeat(40);
        let path = format!("{folder}/lab03.json");
        let (all, _) = found("x.tar.gz", &tarred(&[(&path, b"1")]));
        assert_eq!(all, [three(&folder, "lab03.json", "1")]);
        let endless = format!("{}/lab03.json", "x".repeat(10_000));
        let (all, _) = found(
            "x.tar.gz",
            &tarred(&[(&endless, b"1"), ("lab04.json", b"2")]),
        );
        assert_eq!(all, [three("", "lab04.json", "2")]);
    }

    #[test]
    fn what_breaks_off_gives_what_it_has() {
        let noise: Vec<u8> = (0..100_000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let bytes = tarred(&[("lab03.json", b"1"), ("lab04.json", &noise)]);
        let (all, end) = found("x.tar.gz", &bytes[..bytes.len() / 2]);
        assert_eq!(all[0], three("", "lab03.json", "1"));
        assert!(all[1].2.starts_with("refused") && !end.is_empty(), "{end}");
        for bytes in [&b""[..], b"hello", b"\x1f\x8b", b"PK\x03\x04", &[0; 1000]] {
            let (all, end) = found("x.zip", bytes);
            assert!(all.is_empty() && !end.is_empty(), "{all:?} {end}");
        }
        let (_, end) = found("x.zip", &zipped(&[("readme.txt", b"hello")]));
        assert!(end.contains("no labNN.json"), "{end}");
        // A record by itself.
        assert_eq!(
            found("alice.json", b" {}").0,
            [three("", "alice.json", " {}")]
        );
    }

    #[test]
    fn a_folder_of_hand_ins_stands_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for set in ["bob", "alice"] {
            fs::create_dir(at(set)).unwrap();
            fs::write(at(set).join("lab03.json"), "{}").unwrap();
        }
        fs::write(at("carol.ZIP"), "").unwrap();
        fs::write(at("readme.txt"), "").unwrap();
        let expanded = expand(&[dir.path().to_path_buf(), at("missing")]);
        assert_eq!(
            expanded,
            [at("alice"), at("bob"), at("carol.ZIP"), at("missing")]
        );
        assert!(read(&at("missing"), &mut |_| {}).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(magic in 0usize..4, mut bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let heads: [&[u8]; 4] = [b"PK\x03\x04", b"\x1f\x8b\x08", b"{", b""];
            bytes.splice(0..0, heads[magic].iter().copied());
            let _ = found("x", &bytes);
        }

        #[test]
        fn a_flipped_byte_does_no_harm(at: prop::sample::Index, to: u8) {
            for mut bytes in [zipped(&[("a/lab03.json", b"text")]), tarred(&[("a/lab03.json", b"text")])] {
                let at = at.index(bytes.len());
                bytes[at] = to;
                let _ = found("x", &bytes);
            }
        }
    }
}
