//! One file per verb: its arguments, and what it prints of what it asked for.

pub mod apply;
pub mod dataset;
pub mod delete;
pub mod describe;
pub mod get;
pub mod infer;
pub mod logs;
pub mod manager;
pub mod model;
pub mod node;
pub mod plugin;
pub mod rollout;
pub mod top;
pub mod up;
pub mod wait;
