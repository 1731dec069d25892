//! What the log on disk does when its disk does not do what it should.

mod damage;
mod full;
mod opening;
mod simulated;
