//! Workloads: dbbench .ini scripts and plain queries, with line-numbered errors.
