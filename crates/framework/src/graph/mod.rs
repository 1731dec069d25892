//! From what was written to a [`Plan`] that can run: references resolved, plugins bound, schemas checked from
//! step to step, topics joined. All problems of a file are found in one pass.

mod attempt;
mod begin;
mod connections;
mod cut;
mod describe;
mod explain;
mod keyed;
mod meaning;
mod narrow;
mod only;
mod plan;
mod planning;
mod repartition;
mod steps;
mod topics;

pub use describe::describe;
pub use explain::{Delivery, Explained, explain};
pub use plan::{
    ChainPlan, NOTE_OF_A_WINDOW, Node, NodeBody, OnError, Outputs, Plan, REPLAY_ROWS, REPLAY_TIME,
    Repartitioned, Sharing, SourcePlan, TopicUse,
};
pub use planning::{PlanOptions, plan};
pub use repartition::Repartition;
pub(crate) use repartition::{Piece, home, piece, timed};
