//! What a query costs: functions, owners, processes, resources, statements, and the quantities of the preset.

pub(in crate::analyze) mod accounted;
pub mod carried;
pub mod carrier_names;
pub mod demands;
pub mod hot;
pub mod owners;
pub mod precision;
pub mod processes;
pub mod quantities;
pub mod statements;
pub mod tally;
pub mod view;
