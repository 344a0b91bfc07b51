//! What does it cost to give somebody data, by size? Written and read as in lab 16, by its own file.

use std::hint::black_box;

use bytes::Bytes;

use lab16::payload;

use super::{Group, case, keep};

/// A cache's first level, its second, its third, and none.
const SIZES: [(&str, usize); 4] = [
    ("copying_1KB", 1 << 10),
    ("copying_64KB", 64 << 10),
    ("copying_1MB", 1 << 20),
    ("copying_10MB", 10 << 20),
];

fn data(size: usize) -> Vec<u8> {
    let mut data = vec![0; size];
    payload::fill(&mut data, 1);
    data
}

pub fn groups() -> Vec<Group> {
    SIZES
        .into_iter()
        .map(|(name, size)| Group {
            name,
            cases: vec![
                // A counted reference: the size does not matter.
                case("handle", 1, move || {
                    let data = Bytes::from(data(size));
                    move || keep(data.clone())
                }),
                // Into memory that is there already.
                case("kept", 1, move || {
                    let (from, mut to) = (data(size), vec![0; size]);
                    move || {
                        to.copy_from_slice(black_box(&from));
                        black_box(&mut to);
                    }
                }),
                // Into memory that is asked for each time; large pieces come from the system and
                // have to be mapped page by page.
                case("fresh", 1, move || {
                    let from = data(size);
                    move || keep(black_box(&from).clone())
                }),
                // One pass that reads.
                case("read", 1, move || {
                    let data = data(size);
                    move || keep(payload::checksum(black_box(&data)))
                }),
                // One pass that writes.
                case("write", 1, move || {
                    let mut data = data(size);
                    let mut turn = 0;
                    move || {
                        turn += 1;
                        black_box(payload::fill(black_box(&mut data), turn));
                    }
                }),
            ],
        })
        .collect()
}
