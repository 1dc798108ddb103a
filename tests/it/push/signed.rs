//! A push is signed as every other request of the gate's own, also when it is repeated.

use crate::push::MODES;
use crate::push::app::{App, Then, setup};
use crate::push::wechat::{OPENID, Wechat, message};
use crate::signed::{Keys, are_taken, case};

#[tokio::test]
async fn a_push_has_a_proof_and_an_assertion_of_its_sender_or_of_nobody() {
    for mode in MODES {
        let (app, keys) = (App::start().await, Keys::new());
        let mut setup = setup(&app, mode, "");
        setup.toml += &keys.tables();
        let world = setup.start().await;
        app.next([Then::HangsUp]);
        for status in [502, 200] {
            let pushed = Wechat::of(&world).of_mode(mode, &message(false, 1));
            let pushed = pushed.to(&world).header("X-WX-Proof", "forged");
            assert_eq!(pushed.send().await.status, status, "{mode}");
        }
        let arrived = app.arrived();
        let cases = arrived.iter().map(|arrived| {
            let headers = arrived.headers.iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
            case(&world, ("POST", "/pushed"), headers)
        });
        are_taken(&[true; 2], &cases.collect::<Vec<_>>()).await;
        let claims = crate::signed::part(arrived[1].header("x-wx-assertion")[0], 1);
        let sender = (mode != "plain").then_some(OPENID);
        assert_eq!(
            claims.get("sub").and_then(|sub| sub.as_str()),
            sender,
            "{mode}"
        );
        assert!(claims.get("sid").is_none(), "{claims}");
    }
}
