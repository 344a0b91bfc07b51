//! lab03: the same as `labs run 3`.

lab_kit::binary!(lab03::ConcurrencyTrap);
