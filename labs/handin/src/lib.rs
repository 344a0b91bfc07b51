//! What students hand in: folders, `.zip`, `.tar.gz` and `.tar` archives, single files.
//!
//! Everything is read in memory and nothing is ever written, so that no path of an archive can lead
//! anywhere. Only files of a [`Wanted`] name are read, each with a limit; how much an archive may unpack
//! to is limited as well, whatever it says about itself. Folders are searched like archives: as deep as
//! people nest them, without following links. Whatever else is there is named, with the reason why it was
//! not read; only what the program itself puts beside them is passed over.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

/// Which files are read, and what is said of the others.
#[derive(Debug)]
pub struct Wanted {
    /// Whether a file of this name is read.
    pub is: fn(&str) -> bool,
    /// Largest such file, in bytes.
    pub largest: u64,
    /// What they are called: "records (labNN.json)".
    pub called: &'static str,
    /// Why a file of another name is not read: [`Wanted::neither`], unless there is more to say.
    pub why_not: fn(&str) -> &'static str,
    /// Said of what is nothing of ours.
    pub neither: &'static str,
    /// Whether this file of this folder (its last part) is passed over without a word.
    pub is_ours: fn(&str, &str) -> bool,
    /// Whether nothing in a folder of this name is looked at.
    pub is_aside: fn(&str) -> bool,
}

/// Largest archive inside an archive, in bytes.
const INNER: u64 = 64 << 20;
/// Most bytes that an archive may unpack to.
const UNPACKED: u64 = 2 << 30;
/// Most files in an archive, or in a folder with all its folders.
const ENTRIES: usize = 100_000;
/// Most folders inside each other.
const DEPTH: usize = 16;
/// So many files of an archive or a folder are named for not being read, and ten times as many of those that
/// may have been meant to be.
const NAMED: usize = 100;
/// Longest path in a tar archive, in bytes.
const PATH: u64 = 4096;

/// A file that is wanted, or what stands for one.
#[derive(Debug)]
pub struct Found {
    /// The folder inside the archive; empty at its top and outside of archives.
    pub set: String,
    /// The file's name: "lab03.json".
    pub file: String,
    /// Its text, or why it was not read.
    pub text: Result<String>,
}

/// What paths lead to.
#[derive(Debug, Default)]
pub struct Sources {
    /// Folders of records, archives, single records: each can be [`read`].
    pub sets: Vec<PathBuf>,
    /// What else there is, and why it is not read.
    pub left_out: Vec<(PathBuf, String)>,
}

/// The sets that these paths lead to: a file is one, and a folder stands for every folder of wanted files and every
/// archive in it, however deep.
pub fn expand(wanted: &'static Wanted, paths: &[PathBuf]) -> Sources {
    let mut all = Sources::default();
    for path in paths {
        let mut search =
            Search { wanted, found: Sources::default(), entries: 0, named: Named::default() };
        if path.is_dir() {
            search.folder(path, 0);
        }
        let Search { found, named, .. } = search;
        if found.sets.is_empty() && found.left_out.is_empty() {
            // Reading it says what is wrong with it.
            all.sets.push(path.clone());
        }
        all.sets.extend(found.sets);
        all.left_out.extend(found.left_out);
        let more = named.more().map(|more| (path.clone(), more));
        all.left_out.extend(more);
    }
    all
}

/// A folder that is searched.
struct Search {
    wanted: &'static Wanted,
    found: Sources,
    entries: usize,
    named: Named,
}

/// How many files were named for not being read, and how many more there are.
#[derive(Default)]
struct Named {
    so_far: usize,
    unnamed: usize,
}

impl Named {
    /// True when one more, which is not read for this reason, is to be named.
    fn one(&mut self, wanted: &Wanted, why: &str) -> bool {
        let most = if why == wanted.neither { NAMED } else { 10 * NAMED };
        let named = self.so_far < most;
        *if named { &mut self.so_far } else { &mut self.unnamed } += 1;
        named
    }

    fn more(&self) -> Option<String> {
        (self.unnamed > 0).then(|| format!("and {} more files that are not read", self.unnamed))
    }
}

impl Search {
    fn leave_out(&mut self, path: &Path, why: impl Into<String>) {
        let why = why.into();
        if self.named.one(self.wanted, &why) {
            self.found.left_out.push((path.to_path_buf(), why));
        }
    }

    fn folder(&mut self, dir: &Path, depth: usize) {
        let paths = match listed(dir) {
            Ok(paths) => paths,
            Err(why) => return self.leave_out(dir, format!("it cannot be read: {why}")),
        };
        if paths.is_empty() && depth > 0 {
            self.leave_out(dir, "it is empty");
        }
        let before = self.entries;
        self.entries += paths.len();
        if self.entries > ENTRIES {
            let why =
                format!("there are more than {ENTRIES} files up to here: give fewer at a time");
            // Said once, not by every folder round it.
            if before <= ENTRIES {
                self.leave_out(dir, why);
            }
            return;
        }
        let mut any = false;
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if (self.wanted.is)(&name) {
                // Read with its folder, which also says what is wrong with it.
                any = true;
            } else {
                self.entry(&path, &name, depth);
            }
        }
        if any {
            self.found.sets.push(dir.to_path_buf());
        }
    }

    fn entry(&mut self, path: &Path, name: &str, depth: usize) {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let folder = folder.to_string_lossy();
        let kind = fs::symlink_metadata(path).map(|about| about.file_type());
        let is_folder = kind.as_ref().is_ok_and(|kind| kind.is_dir());
        let is_ours = !is_folder && (self.wanted.is_ours)(&folder, name);
        if self.wanted.is_aside(name) || is_ours {
            return;
        }
        match kind {
            Err(why) => self.leave_out(path, format!("it cannot be read: {why}")),
            Ok(kind) if kind.is_symlink() => self.leave_out(path, LINK),
            Ok(kind) if kind.is_dir() && depth < DEPTH => self.folder(path, depth + 1),
            Ok(kind) if kind.is_dir() => {
                self.leave_out(path, format!("more than {DEPTH} folders are round it"));
            }
            Ok(kind) if !kind.is_file() => self.leave_out(path, NO_FILE),
            Ok(_) if is_archive_name(name) => self.found.sets.push(path.to_path_buf()),
            Ok(_) => self.leave_out(path, self.wanted.why_not(name)),
        }
    }
}

const LINK: &str = "it is a link, and none is followed";
const NO_FILE: &str = "it is no plain file";
const NO_NAME: &str = "the name of a file in it cannot be read";

impl Wanted {
    fn why_not(&self, name: &str) -> &'static str {
        const PACKED: [&str; 14] = [
            "7z", "rar", "xz", "bz2", "gz", "zst", "lz", "lz4", "lzma", "txz", "tbz", "tbz2",
            "tzst", "z",
        ];
        match name.to_ascii_lowercase().rsplit_once('.') {
            Some((_, end)) if PACKED.contains(&end) => {
                "what is packed like this is not read: pack it as .zip or .tar.gz"
            }
            _ => (self.why_not)(name),
        }
    }

    /// A folder or file with nothing that is handed in: systems add things of their own.
    fn is_aside(&self, name: &str) -> bool {
        let of_systems = ["__MACOSX", "Thumbs.db", "desktop.ini"];
        name.starts_with('.') || of_systems.contains(&name) || (self.is_aside)(name)
    }
}

/// What is in a folder, in the order of the names, up to what is too much.
fn listed(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.take(ENTRIES + 1);
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

fn is_archive_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".zip", ".tar.gz", ".tgz", ".tar"].iter().any(|end| name.ends_with(end))
}

/// Reads one source and hands on each record as it comes: a whole class need not fit into memory.
///
/// # Errors
/// When the source is no result set at all, or breaks off: what was handed on before is good.
pub fn read(wanted: &'static Wanted, path: &Path, each: &mut dyn FnMut(Found)) -> Result<()> {
    let about = fs::metadata(path).context("it cannot be read")?;
    if about.is_dir() {
        return folder(wanted, path, each);
    }
    // A pipe would wait for ever.
    ensure!(about.is_file(), "it is neither a file nor a folder");
    let mut head = [0; 512];
    let mut file = File::open(path).context("it cannot be read")?;
    let length = fill(&mut file, &mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let head = &head[..length];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if (wanted.is)(&name) || head.trim_ascii_start().starts_with(b"{") {
        let text = text(wanted, file);
        each(Found { set: String::new(), file: name.into_owned(), text });
        return Ok(());
    }
    let mut seen = Seen {
        wanted,
        any: false,
        files: HashSet::new(),
        entries: 0,
        unpacked: 0,
        named: Named::default(),
    };
    let end = archive(file, head, "", true, &mut seen, each);
    seen.rest(each);
    end?;
    ensure!(seen.any, "it holds no {}", wanted.called);
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

fn folder(wanted: &'static Wanted, dir: &Path, each: &mut dyn FnMut(Found)) -> Result<()> {
    let mut any = false;
    for path in listed(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !(wanted.is)(&name) {
            continue;
        }
        any = true;
        let open = || {
            ensure!(fs::symlink_metadata(&path)?.is_file(), "it is not a plain file");
            text(wanted, File::open(&path)?)
        };
        each(Found { set: String::new(), file: name.into_owned(), text: open() });
    }
    ensure!(any, "it holds neither {} nor archives of them", wanted.called);
    Ok(())
}

/// A file's text, within the limit.
fn text(wanted: &Wanted, from: impl Read) -> Result<String> {
    let bytes = bounded(from, wanted.largest).context("it cannot be read")?;
    String::from_utf8(bytes).context("it cannot be read as text")
}

fn bounded(from: impl Read, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most, "it has more than {} MB", most >> 20);
    Ok(bytes)
}

/// What has been met in an archive and the archives in it.
struct Seen {
    wanted: &'static Wanted,
    any: bool,
    files: HashSet<String>,
    entries: usize,
    unpacked: u64,
    named: Named,
}

impl Seen {
    /// Names something that is not read, unless too much of it is nothing of ours.
    fn other(&mut self, set: String, file: String, why: &str, each: &mut dyn FnMut(Found)) {
        if self.named.one(self.wanted, why) {
            let text = Err(anyhow::anyhow!("{why}"));
            each(Found { set, file, text });
        }
    }

    /// How many were not named.
    fn rest(&self, each: &mut dyn FnMut(Found)) {
        if let Some(more) = self.named.more() {
            each(Found {
                set: String::new(),
                file: String::new(),
                text: Err(anyhow::anyhow!(more)),
            });
        }
    }

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
    Record { set: String, file: String },
    Archive(String),
    Refused { set: String, file: String, why: &'static str },
    Other { set: String, file: String, why: &'static str },
    Aside,
}

fn kind(wanted: &Wanted, path: &str, inside: &str, deeper: bool) -> Kind {
    let path = path.replace('\\', "/");
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let folder = folder.trim_start_matches("./").trim_matches('/');
    let parts = || folder.split('/');
    let join = |a: &str, b: &str| match (a, b) {
        ("", one) | (one, "") => one.to_string(),
        (a, b) => format!("{a}/{b}"),
    };
    let aside = |part: &str| wanted.is_aside(part) && part != "." && part != "..";
    let last = parts().next_back().unwrap_or("");
    let is_ours = !(wanted.is)(name) && (wanted.is_ours)(last, name);
    if parts().any(aside) || wanted.is_aside(name) || is_ours {
        return Kind::Aside;
    }
    let (set, file) = (join(inside, folder), name.to_string());
    match (is_archive_name(name), (wanted.is)(name)) {
        (true, _) if deeper => Kind::Archive(join(&set, name)),
        (true, _) => {
            let why = "it is an archive in an archive in an archive: pack it less often";
            Kind::Other { set, file, why }
        }
        (_, true) if parts().any(|p| p == "..") || path.starts_with('/') => {
            let why = "its path leads out of the archive";
            Kind::Refused { set, file, why }
        }
        (_, true) => Kind::Record { set, file },
        _ => {
            let why = wanted.why_not(name);
            Kind::Other { set, file, why }
        }
    }
}

/// Names an entry that holds nothing which could be read.
fn pass(
    path: &str,
    inside: &str,
    deeper: bool,
    why: &str,
    seen: &mut Seen,
    each: &mut dyn FnMut(Found),
) {
    let (set, file) = match kind(seen.wanted, path, inside, deeper) {
        Kind::Aside => return,
        Kind::Archive(name) => (name, String::new()),
        Kind::Record { set, file } | Kind::Refused { set, file, .. } => {
            seen.any = true;
            (set, file)
        }
        Kind::Other { set, file, .. } => (set, file),
    };
    seen.other(set, file, why, each);
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
    match kind(seen.wanted, path, inside, deeper) {
        Kind::Aside => {}
        Kind::Other { set, file, why } => seen.other(set, file, why, each),
        Kind::Refused { set, file, why } => {
            seen.any = true;
            each(Found { set, file, text: Err(anyhow::anyhow!(why)) });
        }
        Kind::Record { set, file } => {
            seen.any = true;
            let text = if seen.files.insert(format!("{set}/{file}")) {
                text(seen.wanted, content)
            } else {
                Err(anyhow::anyhow!("it is in the archive twice"))
            };
            seen.unpack(text.as_ref().map_or(seen.wanted.largest, |t| t.len() as u64))?;
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
                each(Found { set: name, file: String::new(), text: Err(why) });
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
    bail!("it is no folder of {}, and no .zip, .tar.gz or .tar archive", seen.wanted.called)
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
    let mut places = HashSet::new();
    for index in 0..zip.len() {
        seen.entry()?;
        let name = zip.name_for_index(index).and_then(Result::ok);
        let Some(name) = name.map(|name| name.into_owned()) else {
            seen.other(inside.into(), String::new(), NO_NAME, each);
            continue;
        };
        match zip.by_index(index) {
            // Thousands of names for one file would cost as much as thousands of files.
            Ok(entry) if !places.insert(entry.header_start()) => {
                pass(&name, inside, deeper, "it shares its place with another", seen, each);
            }
            Ok(entry) if entry.is_symlink() => pass(&name, inside, deeper, LINK, seen, each),
            Ok(mut entry) if entry.is_file() => {
                take(&name, inside, deeper, &mut entry, seen, each)?;
            }
            Ok(_) => {}
            Err(why) => pass(&name, inside, deeper, &why.to_string(), seen, each),
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
            io::Error::other(format!("it unpacks to more than {gigabytes} GB: no result set does"))
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
        let damaged =
            if first { "it is no .tar archive, or damaged" } else { "it is a damaged archive" };
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
            long =
                known.filter(|e| e.key_bytes() == b"path").last().map(|e| e.value_bytes().to_vec());
        } else {
            let name = long.take();
            let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
            let name = String::from_utf8_lossy(&name).into_owned();
            let linked = kind.is_symlink() || kind.is_hard_link();
            // Headers of other entries are no entries.
            let about = kind.is_dir() || kind.is_pax_global_extensions() || kind.is_gnu_longlink();
            if name.is_empty() {
                seen.other(inside.into(), String::new(), NO_NAME, each);
            } else if kind.is_file() {
                take(&name, inside, deeper, &mut entry, seen, each)?;
            } else if !about {
                let why = if linked { LINK } else { NO_FILE };
                pass(&name, inside, deeper, why, seen, each);
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

    const RECORD: u64 = 16 << 20;

    static RECORDS: Wanted = Wanted {
        is: |name| {
            let number = name.strip_prefix("lab").and_then(|rest| rest.strip_suffix(".json"));
            number.is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit()))
        },
        largest: RECORD,
        called: "records (labNN.json)",
        why_not: |name| {
            if name.ends_with(".json") { "it is not called labNN.json" } else { RECORDS.neither }
        },
        neither: "it is neither a record nor an archive of records",
        is_ours: |folder, name| {
            name == "report.md" || (folder == "charts" && name.ends_with(".svg"))
        },
        is_aside: |name| name == "history",
    };

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
        let end = read(&RECORDS, &path, &mut |found| {
            let text = found.text.unwrap_or_else(|why| format!("refused: {why:#}"));
            all.push((found.set, found.file, text));
        });
        // Nothing is unpacked.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        (all, end.map_or_else(|why| format!("{why:#}"), |()| String::new()))
    }

    fn three(set: &str, file: &str, text: &str) -> (String, String, String) {
        (set.into(), file.into(), text.into())
    }

    /// Archives changed at random: whatever they promise, they end, within the limits, and unpack nothing.
    #[test]
    fn an_archive_of_any_bytes_ends_in_records_or_a_reason() {
        let entries: &[(&str, &[u8])] = &[
            ("alice/lab03.json", b"{\"lab\": \"lab03\"}"),
            ("bob/history/lab04.json", b"{}"),
            ("readme.txt", &[b'x'; 700]),
        ];
        let plain = |bytes: Vec<u8>| {
            let mut out = Vec::new();
            let mut gz = flate2::read::GzDecoder::new(&bytes[..]);
            gz.read_to_end(&mut out).unwrap();
            out
        };
        let mut stored = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let as_it_is =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (name, content) in entries {
            stored.start_file(*name, as_it_is).unwrap();
            stored.write_all(content).unwrap();
        }
        let inner = zipped(entries);
        let samples = [
            tarred(entries),
            plain(tarred(entries)),
            stored.finish().unwrap().into_inner(),
            tarred(&[("class/carol.zip", &inner)]),
            zipped(&[("class/carol.zip", &inner), ("dan/lab01.json", b"{}")]),
            inner,
        ];
        let words = [
            "PK\x01\x02",
            "PK\x03\x04",
            "PK\x05\x06",
            "PK\x06\x06",
            "\x1f",
            "ustar\x00",
            "../",
            "/lab05.json",
            ".zip",
            ".tar.gz",
            "\x7f\x7f\x7f\x7f",
            "\0\0\0\0",
            "77777777777",
            "{",
        ];
        let names = ["x.zip", "x.tar.gz", "x.tar", "lab03.json", "x"];
        lab_testing::fuzz(&samples, &words, |bytes, rng| {
            let name = names[rand::RngExt::random_range(rng, 0..names.len())];
            let (all, end) = found(name, bytes);
            let length: usize = all.iter().map(|(_, _, text)| text.len()).sum();
            assert!(length as u64 <= UNPACKED && all.len() <= ENTRIES);
            assert!(!all.is_empty() || !end.is_empty(), "nothing, and no reason");
        });
    }

    #[test]
    fn records_are_told_by_their_names_and_sets_by_their_folders() {
        let entries: &[(&str, &[u8])] = &[
            ("alice/lab03.json", b"a"),
            ("alice/history/lab03.json", b"old"),
            ("alice/charts/lab03-trap.svg", b"chart"),
            ("bob/results/local/lab03.json", b"b"),
            ("__MACOSX/alice/lab03.json", b"shadow"),
            ("alice/report.md", b"report"),
            ("alice/.DS_Store", b"system"),
            ("alice/lab3.json", b"other"),
            ("carol.7z", b"7z"),
            ("dave/labs.tar.xz", b"xz"),
        ];
        let refused = |set: &str, file: &str| {
            let why = format!("refused: {}", RECORDS.why_not(file));
            three(set, file, &why)
        };
        let expected = [
            three("alice", "lab03.json", "a"),
            three("bob/results/local", "lab03.json", "b"),
            refused("alice", "lab3.json"),
            refused("", "carol.7z"),
            refused("dave", "labs.tar.xz"),
        ];
        assert_eq!(found("x.zip", &zipped(entries)), (expected.to_vec(), String::new()));
        assert_eq!(found("x.bin", &tarred(entries)), (expected.to_vec(), String::new()));
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
        assert_eq!((all[1].0.as_str(), all.len()), ("Eve/evil.zip", 3));
        assert!(all[1].2.starts_with("refused: it is a damaged .zip"), "{all:?}");
        assert_eq!((all[2].0.as_str(), all[2].1.as_str()), ("Joe/deep.zip", "x.zip"));
        assert!(all[2].2.contains("in an archive in an archive"), "{all:?}");
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

        let (all, _) = found("x.tgz", &tarred(&[("lab03.json", b"1"), ("lab03.json", b"2")]));
        assert_eq!(all[0].2, "1");
        assert!(all[1].2.contains("twice"), "{all:?}");

        let large = vec![b' '; RECORD as usize + 1];
        for bytes in [zipped(&[("lab03.json", &large)]), tarred(&[("lab03.json", &large)])] {
            assert!(bytes.len() < 200_000, "a bomb is small");
            let (all, _) = found("bomb", &bytes);
            assert!(all[0].2.contains("more than 16 MB"), "{}", all[0].2);
        }
        let mut metered = Metered { from: io::repeat(0).take(100), left: 50 };
        assert!(metered.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn long_names_are_read_and_endless_ones_are_not() {
        let folder = "name ".repeat(40);
        let path = format!("{folder}/lab03.json");
        let (all, _) = found("x.tar.gz", &tarred(&[(&path, b"1")]));
        assert_eq!(all, [three(&folder, "lab03.json", "1")]);
        let endless = format!("{}/lab03.json", "x".repeat(10_000));
        let (all, _) = found("x.tar.gz", &tarred(&[(&endless, b"1"), ("lab04.json", b"2")]));
        let unnamed = three("", "", &format!("refused: {NO_NAME}"));
        assert_eq!(all, [unnamed, three("", "lab04.json", "2")]);
    }

    #[test]
    fn what_breaks_off_gives_what_it_has() {
        let noise: Vec<u8> =
            (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let bytes = tarred(&[("lab03.json", b"1"), ("lab04.json", &noise)]);
        let (all, end) = found("x.tar.gz", &bytes[..bytes.len() / 2]);
        assert_eq!(all[0], three("", "lab03.json", "1"));
        assert!(all[1].2.starts_with("refused") && !end.is_empty(), "{end}");
        for bytes in [&b""[..], b"hello", b"\x1f\x8b", b"PK\x03\x04", &[0; 1000]] {
            let (all, end) = found("x.zip", bytes);
            assert!(all.is_empty() && !end.is_empty(), "{all:?} {end}");
        }
        let (_, end) = found("x.zip", &zipped(&[("readme.txt", b"hello")]));
        assert!(end.contains("no records (labNN.json)"), "{end}");
        // A record by itself.
        assert_eq!(found("alice.json", b" {}").0, [three("", "alice.json", " {}")]);
    }

    #[test]
    fn links_and_much_that_is_nothing_are_named_in_archives() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "a/lab03.json", "/etc/passwd").unwrap();
        let (all, end) = found("x.tar", &tar.into_inner().unwrap());
        assert_eq!(all, [three("a", "lab03.json", &format!("refused: {LINK}"))]);
        assert_eq!(end, "");

        let names: Vec<String> = (0..NAMED + 7).map(|i| format!("{i}.txt")).collect();
        let mut entries: Vec<(&str, &[u8])> =
            names.iter().map(|n| (n.as_str(), &b""[..])).collect();
        entries.push(("lab03.json", b"1"));
        let (all, end) = found("x.zip", &zipped(&entries));
        assert_eq!((all.len(), end.as_str()), (NAMED + 2, ""));
        assert_eq!(all[NAMED], three("", "lab03.json", "1"));
        assert!(all[NAMED + 1].2.contains("7 more"), "{:?}", all.last());
    }

    /// What a learning platform gives: a folder for every student, with whatever they handed in.
    #[test]
    fn a_folder_of_hand_ins_stands_for_all_that_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str| {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), "{}").unwrap();
        };
        for file in [
            "Alice A_1_file/lab03.json",
            "Alice A_1_file/report.md",
            "Alice A_1_file/charts/lab03-trap.svg",
            "Alice A_1_file/history/lab03-2026.json",
            "Bob_2_file/work/results/local/lab01.json",
            "Carol_3_file/local.ZIP",
            "Dave_4_file/labs.7z",
            "Eve_5_file/lab03 (1).json",
            "readme.txt",
        ] {
            write(file);
        }
        fs::create_dir(at("Frank_6_file")).unwrap();
        let found = expand(&RECORDS, &[dir.path().to_path_buf(), at("missing")]);
        let sets = [
            "Alice A_1_file",
            "Bob_2_file/work/results/local",
            "Carol_3_file/local.ZIP",
            "missing",
        ];
        assert_eq!(found.sets, sets.map(at));
        let left: Vec<_> =
            found.left_out.iter().map(|(path, why)| (path.clone(), why.as_str())).collect();
        assert_eq!(
            left,
            [
                (at("Dave_4_file/labs.7z"), RECORDS.why_not("labs.7z")),
                (at("Eve_5_file/lab03 (1).json"), RECORDS.why_not("x.json")),
                (at("Frank_6_file"), "it is empty"),
                (at("readme.txt"), RECORDS.why_not("readme.txt")),
            ]
        );
        assert!(read(&RECORDS, &at("missing"), &mut |_| {}).is_err());
        // One that holds nothing at all says so when it is read.
        assert_eq!(expand(&RECORDS, &[at("Frank_6_file")]).sets, [at("Frank_6_file")]);
    }

    #[cfg(unix)]
    #[test]
    fn no_link_leads_out_of_a_folder_and_no_depth_is_endless() {
        use std::os::unix::fs::symlink;
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        fs::write(outside.path().join("lab03.json"), "{}").unwrap();
        symlink(outside.path(), at("elsewhere")).unwrap();
        symlink(dir.path(), at("round")).unwrap();
        fs::create_dir(at("mallory")).unwrap();
        symlink(outside.path().join("lab03.json"), at("mallory/lab03.json")).unwrap();
        let deep = (0..=DEPTH).fold(at("deep"), |path, _| path.join("x"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("lab03.json"), "{}").unwrap();
        let found = expand(&RECORDS, &[dir.path().to_path_buf()]);
        assert_eq!(found.sets, [at("mallory")]);
        let named = |name: &str| found.left_out.iter().find(|(path, _)| *path == at(name));
        assert_eq!(named("elsewhere").unwrap().1, LINK);
        assert_eq!(named("round").unwrap().1, LINK);
        assert!(found.left_out.iter().any(|(_, why)| why.contains("16 folders")), "{found:?}");
        let mut told = Vec::new();
        read(&RECORDS, &at("mallory"), &mut |found| told.push(found.text.unwrap_err().to_string()))
            .unwrap();
        assert_eq!(told, ["it is not a plain file"]);
    }

    #[test]
    fn of_much_that_is_nothing_the_number_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..NAMED + 5 {
            fs::write(dir.path().join(format!("{i}.txt")), "").unwrap();
        }
        fs::write(dir.path().join("zoe.rar"), "").unwrap();
        let found = expand(&RECORDS, &[dir.path().to_path_buf()]);
        assert_eq!(found.left_out.len(), NAMED + 2);
        // What may have been meant to be read is always named.
        assert!(found.left_out[NAMED].0.ends_with("zoe.rar"), "{found:?}");
        assert!(found.left_out[NAMED + 1].1.contains("and 5 more"), "{found:?}");
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
