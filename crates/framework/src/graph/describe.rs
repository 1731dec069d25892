//! A plan as text.

use std::fmt::Write as _;

use super::plan::{NodeBody, Plan};
use crate::plugin::SourceBody;

/// One line a chain: its steps in the order of the data, topics by name.
pub fn describe(plan: &Plan) -> String {
    let mut out = String::new();
    for chain in &plan.chains {
        let source = match &chain.source.bound.body {
            SourceBody::Log(source) => format!("topic {}", source.topic),
            SourceBody::Custom(..) => chain.source.plugin.clone(),
        };
        let _ = write!(out, "{}: {source}", chain.name);
        branch(&mut out, chain, &chain.source.outputs.main);
        out.push('\n');
    }
    out
}

fn branch(out: &mut String, chain: &super::ChainPlan, nodes: &[usize]) {
    let (last, others) = match nodes {
        [] => return,
        [only] => (*only, &nodes[..0]),
        [others @ .., last] => (*last, others),
    };
    for node in others {
        out.push_str(" -> (");
        step(out, chain, *node);
        out.push(')');
    }
    out.push_str(" -> ");
    step(out, chain, last);
}

fn step(out: &mut String, chain: &super::ChainPlan, index: usize) {
    let node = &chain.nodes[index];
    match &node.body {
        NodeBody::Topic(_, sink) => {
            let _ = write!(out, "topic {}", sink.topic);
        }
        NodeBody::Repartition(_, repartition, _) => {
            let _ = write!(out, "topic {}", repartition.topic());
        }
        _ => out.push_str(&node.plugin),
    }
    branch(out, chain, &node.outputs.main);
}
