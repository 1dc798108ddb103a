//! The shortest way through the gate.

use crate::support::World;

#[tokio::test]
async fn a_code_becomes_a_token_and_the_token_an_identity() {
    let world = World::start().await;
    let token = world.login("alice").await;
    let answer = world.get("/me").bearer(&token).send().await;
    assert_eq!(answer.status, 200);
    let seen = world.app.last();
    assert_eq!(seen.header("x-wx-openid"), [world.openid("alice")]);
}
