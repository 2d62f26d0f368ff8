//! Paths, case by case.
