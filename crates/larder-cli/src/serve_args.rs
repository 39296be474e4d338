//! The options of `larder serve`.

use std::net::SocketAddr;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_long_help = "\
One page for all instances of a service, without a cache of its own: summed, and each by itself. Each instance serves a dashboard \
(`cache.dashboard(addr)`) that this machine must reach. Named by addresses, these are followed; named by a Redis, whoever registers there \
(`larder::Discovery`): newcomers appear, and who ends or is killed leaves. While the Redis does not answer, those known are followed.

What the page asks about keys is asked of the instance that holds the cache. To roll back or resume, open an instance's own page: each has a \
token of its own, which is never passed on. The page has no login, so it is on loopback unless --listen says otherwise.

Examples:
  larder serve 10.0.0.2:9465 10.0.0.3:9465
  larder serve redis://localhost --namespace users
  larder serve redis://10.0.0.9/2 --namespace users --listen 0.0.0.0:9466 --host cache.internal
  larder serve redis://10.0.0.7 redis://10.0.0.8 --namespace users     # nodes of one cluster
  larder serve redis://10.0.0.7:26379 --master ann:secret@mymaster --namespace users     # sentinels

Exit status: 0 after Ctrl-C or SIGTERM, 1 on failure, 2 on bad usage.")]
pub(crate) struct ServeArgs {
    /// Whom to show: addresses of dashboards, as in 10.0.0.2:9465, and a Redis where they register, as in
    /// redis://user:password@host:6379; several of these are nodes of one cluster, or with --master sentinels
    #[arg(value_name = "INSTANCE", required = true)]
    pub(crate) instances: Vec<String>,

    /// The namespace under which the instances register in the Redis
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// The Redis named is sentinels, which call the master so; before it the login there, after it the number of a database
    #[arg(long, value_name = "[USER:PASSWORD@]NAME[/DB]", requires = "namespace")]
    pub(crate) master: Option<String>,

    /// Where the page is; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9466")]
    pub(crate) listen: SocketAddr,

    /// A name under which the page is reached beside its address, such as a proxy's; again for each
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
}
