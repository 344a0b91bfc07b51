//! Stages with widths, queues and service distributions, in virtual time.
