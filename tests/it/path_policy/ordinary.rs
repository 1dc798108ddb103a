//! Targets that honest clients send. None of them may be refused, under the rules that people write.

use crate::path_policy::RULES;
use crate::support::Setup;
use crate::support::raw::Connection;

/// As mini programs, their libraries and what they show send them.
const ORDINARY: &[&str] = &[
    "/",
    "/me",
    "/saveUserInfo",
    "/api2/v1/orders?page=2&size=20&sort=-created_at",
    "/v1/items/42",
    "/v1.0/users/oABCD-1234_efg",
    "/v1/items:batchGet?ids=1,2,3",
    "/goods/detail/",
    "/goods/detail/?id=1%2F2",
    "/goods/%E5%BC%A0%E4%B8%89",
    "/goods/%e5%95%86%e5%93%81/%e8%af%a6%e6%83%85.html",
    "/search/%E7%BA%A2%E8%89%B2%20T%E6%81%A4",
    "/search?q=%E7%BA%A2%E8%89%B2&next=/admin/../exact",
    "/tags/%E4%BD%A0%E5%A5%BD%EF%BC%8C%E4%B8%96%E7%95%8C%EF%BC%81",
    "/tags/%EF%BC%A1%EF%BC%A2%EF%BC%A3",
    "/news/2024-06-01%2012:30:00",
    "/files/a%20b%20(1).pdf",
    "/files/report.2024.06.tar.gz",
    "/files/%E5%90%88%E5%90%8C%20v1.0.docx",
    "/files/100%25.png",
    "/files/a+b.txt",
    "/files/a%2Bb%3Dc.txt",
    "/files/dir%2Fname.txt",
    "/users/tom@example.com/avatar.png",
    "/users/@tom",
    "/users/~tom/",
    "/static/js/chunk-vendors.0a1b2c3d.js",
    "/static/img/logo@2x.png",
    "/.well-known/security.txt",
    "/favicon.ico",
    "/robots.txt",
    "/img/a.jpg!thumb",
    "/img/a.jpg;w=100;h=100",
    "/map;lat=39.9;lng=116.4/zoom",
    "/cal/1,2,3",
    "/q/a=b&c=d",
    "/price/$9.99",
    "/emoji/%F0%9F%98%80",
    "/caf%C3%A9",
    "/stra%C3%9Fe",
    "/quote/%22hello%22",
    "/quote/it's",
    "/json/%7B%22a%22%3A1%7D",
    "/json/{id}",
    "/b64/aGVsbG8=",
    "/b64/aGVs%2BbG8%3D",
    "/time/12:30",
    "/index",
    "/indexes/1",
    "/administrator/x",
    "/admins",
    "/exactly",
    "/teams/a/keys",
    "/opened/secret",
    "/apis/x",
    "/profiles",
    "/hooks/logins",
    "/report.phpx",
    "/wx",
    "/wx/logins",
    "/wx/login2",
    "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
    "/a//b",
    "/a/./b",
    "/legacy.php?m=home&c=index&a=index",
    "/legacy.php/home/index",
    "/app/index.php/home/index",
    "/openid/oAbCdEfGhIjKlMnOpQrStUvWxYz0",
    "/%7Etom/%2D%5F",
];

/// Targets of the guarded paths as honest clients send them.
const GUARDED: &[&str] = &[
    "/admin",
    "/admin/",
    "/admin/users?id=1",
    "/admin/%E5%BC%A0%E4%B8%89.json",
    "/admin/a%20b.tar.gz",
    "/admin/index.html",
    "/admin/index.php/x",
    "/exact?x=/../y",
    "/team/%E5%BC%A0/keys",
    "/team/a.b/keys",
    "/report.php?x=1",
    "/open/",
    "/open/a.png",
    "/open/index.html",
    "/open/index.php/a/b.json",
    "/open/%E5%BC%A0/a%20b;v=1",
    "/open/secret/a.png",
    "/api/x.json",
    "/api/%E5%BC%A0%2F%E4%B8%89",
    "/profile?x",
    "/index.php?s=x",
];

#[tokio::test]
async fn ordinary_targets_pass_under_every_set_of_rules() {
    let mut refused = Vec::new();
    for rules in RULES
        .iter()
        .filter(|rules| !rules.toml.contains("upstreams"))
    {
        let world = Setup::with(rules.toml).start().await;
        let mut connection = Connection::open(world.address()).await;
        for target in ORDINARY.iter().chain(GUARDED) {
            connection.write(&world.get(target).bytes()).await;
            let answer = connection.answer().await;
            if ![200, 401].contains(&answer.status) {
                refused.push(format!(
                    "{target} under {:?}: {}",
                    rules.name, answer.status
                ));
            }
        }
    }
    let allowed: &[&str] = &[
        // More is asked of `/`, for which these are names.
        "/index.php?s=x under \"optional, with a guarded root\": 400",
        "/legacy.php?m=home&c=index&a=index under \"optional, with a guarded root\": 400",
    ];
    refused.retain(|line| !allowed.contains(&line.as_str()));
    assert_eq!(refused, [""; 0]);
}
