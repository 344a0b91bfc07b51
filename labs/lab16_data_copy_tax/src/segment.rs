//! Memory that two processes see: the one place of the suite with `unsafe`.
//!
//! The compiler knows the borrows of one process. That another process has the same pages, it cannot
//! know; so what it would otherwise check is here a promise between two programs:
//!
//! - The producer writes only while it owns the segment: from the answer to one hand-over until it
//!   rings for the next.
//! - The consumer reads only while *it* owns the segment: from the ring until its answer. It cannot
//!   write: its mapping is read-only.
//! - Nobody makes the file shorter, or touching what was cut off would end the program (SIGBUS).
//!
//! On Linux a segment is a `memfd`, a file that exists in memory only and has no name; with a folder
//! given, or elsewhere, it is a temporary file. Linux lets the consumer open it by the producer's
//! descriptor under `/proc`, so that there, too, it never has a name, and is gone with the last
//! process that has it, however that one ends. Elsewhere the file has a name until the consumer has
//! opened it.

#![allow(unsafe_code)]

use std::{
    fs::File,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use memmap2::{Mmap, MmapMut, MmapOptions};

/// Where segments are kept.
#[derive(Clone, Debug)]
pub enum Home {
    /// In memory, without a name.
    #[cfg(target_os = "linux")]
    Memory,
    /// In temporary files of this folder.
    Folder(PathBuf),
}

impl Home {
    /// The folder if there is one; otherwise memory where the system can do it, and its folder for
    /// temporary files elsewhere.
    pub fn new(folder: Option<&Path>) -> Home {
        match folder {
            Some(folder) => Home::Folder(folder.into()),
            #[cfg(target_os = "linux")]
            None => Home::Memory,
            #[cfg(not(target_os = "linux"))]
            None => Home::Folder(std::env::temp_dir()),
        }
    }

    /// The folder in which another process finds the segments of this one.
    pub fn base(&self) -> PathBuf {
        match self {
            #[cfg(target_os = "linux")]
            _ => format!("/proc/{}/fd", std::process::id()).into(),
            #[cfg(not(target_os = "linux"))]
            Home::Folder(folder) => folder.clone(),
        }
    }
}

/// The producer's side: pages it may write.
#[derive(Debug)]
pub struct Segment {
    map: MmapMut,
    /// Its name in [`Home::base`].
    name: u64,
    /// Keeps the descriptor, which is its name, open.
    _file: File,
    /// The file has a name, which has to go.
    #[cfg(not(target_os = "linux"))]
    path: tempfile::TempPath,
}

impl Segment {
    /// Makes a segment of so many bytes, all zero.
    ///
    /// # Errors
    /// When there is no such folder, no room in it, or no memory.
    pub fn create(home: &Home, bytes: usize) -> Result<Segment> {
        let made = Segment::make(home, bytes);
        let place = match home {
            #[cfg(target_os = "linux")]
            Home::Memory => "in memory; is there enough of it? --folder keeps it in a file".into(),
            Home::Folder(folder) => format!("in {}", folder.display()),
        };
        made.with_context(|| format!("cannot make a shared segment of {bytes} bytes {place}"))
    }

    #[cfg(target_os = "linux")]
    fn make(home: &Home, bytes: usize) -> Result<Segment> {
        use std::os::fd::AsRawFd;

        use nix::sys::memfd::{MFdFlags, memfd_create};

        let file = match home {
            Home::Memory => {
                let file = File::from(memfd_create(c"lab16", MFdFlags::MFD_CLOEXEC)?);
                file.set_len(bytes as u64)?;
                file
            }
            Home::Folder(folder) => reserve(tempfile::tempfile_in(folder)?, bytes)?,
        };
        Ok(Segment {
            // SAFETY: the file is this segment's own, and nobody else writes to it or shortens it
            // (see above); the consumer only reads, and only between ring and answer, when nobody
            // here holds a reference (`hand_over` borrows the way mutably until the answer).
            map: unsafe { MmapOptions::new().len(bytes).map_mut(&file)? },
            name: file.as_raw_fd() as u64,
            _file: file,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn make(home: &Home, bytes: usize) -> Result<Segment> {
        use std::sync::atomic::{AtomicU64, Ordering};

        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Home::Folder(folder) = home;
        let name = u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(name.to_string());
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path)?;
        let path = tempfile::TempPath::try_from_path(path)?;
        let file = reserve(file, bytes)?;
        Ok(Segment {
            // SAFETY: as above.
            map: unsafe { MmapOptions::new().len(bytes).map_mut(&file)? },
            name,
            _file: file,
            path,
        })
    }

    /// Its name for [`View::open`].
    pub fn name(&self) -> u64 {
        self.name
    }

    /// The consumer has opened it: from here on it needs no name. (On Windows a mapped file keeps
    /// its name until it is dropped.)
    pub fn opened(&self) {
        #[cfg(all(unix, not(target_os = "linux")))]
        let _ = std::fs::remove_file(&self.path);
        #[cfg(windows)]
        let _ = &self.path;
    }
}

/// Takes the room on the disk now, or the first write to a page without any would end the program.
fn reserve(mut file: File, bytes: usize) -> Result<File> {
    use std::io::{Read, Write, copy, repeat};

    copy(&mut repeat(0).take(bytes as u64), &mut file)?;
    file.flush()?;
    Ok(file)
}

impl Deref for Segment {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl DerefMut for Segment {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
}

/// The consumer's side: pages it may read.
#[derive(Debug)]
pub struct View {
    map: Mmap,
}

impl View {
    /// Opens a segment of another process.
    ///
    /// # Errors
    /// When it is not there, or is not as long.
    pub fn open(base: &Path, name: u64, bytes: usize) -> Result<View> {
        let path = base.join(name.to_string());
        let open = || {
            let file = File::open(&path)?;
            let there = file.metadata()?.len();
            anyhow::ensure!(there >= bytes as u64, "it has only {there} bytes");
            // SAFETY: long enough, as was just seen; the producer neither shortens it nor writes
            // to it until this process has answered, and views live no longer than that or are
            // not read in between.
            Ok(unsafe { MmapOptions::new().len(bytes).map(&file)? })
        };
        let map = open().with_context(|| format!("cannot open segment {}", path.display()))?;
        Ok(View { map })
    }
}

impl Deref for View {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_by_both(home: &Home) {
        let mut segment = Segment::create(home, 10_000).unwrap();
        assert!(segment.iter().all(|byte| *byte == 0));
        segment[9_999] = 7;
        let view = View::open(&home.base(), segment.name(), 10_000).unwrap();
        segment.opened();
        assert_eq!(view[9_999], 7);
        segment[0] = 8;
        assert_eq!(view[0], 8);
        // It outlives its maker.
        drop(segment);
        assert_eq!(view[9_999], 7);
    }

    #[test]
    fn what_one_side_writes_the_other_sees() {
        seen_by_both(&Home::new(None));
        let folder = tempfile::tempdir().unwrap();
        seen_by_both(&Home::new(Some(folder.path())));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_is_missing_or_too_short_is_said() {
        let home = Home::new(None);
        let segment = Segment::create(&home, 100).unwrap();
        let error = View::open(&home.base(), segment.name(), 5000).unwrap_err();
        assert!(format!("{error:#}").contains("only 100 bytes"), "{error:#}");
        let nowhere = Home::new(Some(Path::new("/no/such/folder")));
        let error = format!("{:#}", Segment::create(&nowhere, 100).unwrap_err());
        for part in ["segment of 100 bytes", "/no/such/folder"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
