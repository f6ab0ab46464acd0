//! The exchange against a model: processes come and go, write, ask, answer and get stuck in any order, and whatever they
//! do, each question ends once, order is kept, the figures add up, and nothing is left behind. `steps` is what may
//! happen, and `world` what becomes of it.

mod steps;
mod world;

use proptest::prelude::*;

use steps::steps;
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_questions_end_once_order_is_kept_and_nothing_is_left(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.wind_up();
    }
}
