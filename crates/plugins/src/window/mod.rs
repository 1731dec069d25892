//! Windows: what is kept of the rows between two moments.

mod aggregates;
mod count_by_key;
mod distinct;
mod exact_sum;
mod numbers;
mod quantiles;
mod rate;
mod sketch;
mod top_k;

#[cfg(test)]
mod tests;
