//! Proxies that keep what an origin answers, each with one worker or one pool, and no access log.
//!
//! As a careful operator would set them for this work: connections that stay open, what is kept in
//! memory. They say `X-Cache` too, since a round must be able to tell a hit.

use std::process::Command;

use super::program::Program;
use crate::Outcome;

/// nginx with `proxy_cache`, its files in memory and held open. With `sendfile` a page this small takes a
/// third more, and opening its file each time nearly doubles it.
pub fn nginx(origin: u16) -> Outcome<Program> {
    Program::start("nginx", |folder, port| {
        let here = folder.display();
        let conf = format!(
            "\
daemon off;
worker_processes 1;
pid {here}/pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off;
  sendfile off;
  keepalive_requests 1000000000;
  client_body_temp_path {here}/client;
  proxy_temp_path {here}/proxy;
  fastcgi_temp_path {here}/fastcgi;
  uwsgi_temp_path {here}/uwsgi;
  scgi_temp_path {here}/scgi;
  proxy_cache_path {here}/cache keys_zone=pages:1m max_size=64m inactive=1d use_temp_path=off;
  open_file_cache max=100 inactive=1d;
  open_file_cache_valid 1d;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{origin};
      proxy_cache pages;
      add_header X-Cache $upstream_cache_status;
    }}
  }}
}}
"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, conf)?;
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(file);
        Ok(command)
    })
}

/// Varnish, in its own memory. It keeps a thread with each busy connection, so it has one for each.
pub fn varnish(origin: u16) -> Outcome<Program> {
    Program::start("varnishd", |folder, port| {
        let vcl = format!(
            "\
vcl 4.1;
backend default {{ .host = \"127.0.0.1\"; .port = \"{origin}\"; }}
sub vcl_deliver {{
  if (obj.hits > 0) {{ set resp.http.X-Cache = \"HIT\"; }} else {{ set resp.http.X-Cache = \"MISS\"; }}
}}
"
        );
        let file = folder.join("page.vcl");
        std::fs::write(&file, vcl)?;
        let mut command = Command::new("varnishd");
        command.args(["-F", "-j", "none", "-T", "none", "-s", "malloc,64m", "-n"]).arg(folder);
        command.args(["-a", &format!("127.0.0.1:{port}"), "-f"]).arg(file);
        for setting in ["thread_pools=1", "thread_pool_min=100", "thread_pool_max=100"] {
            command.args(["-p", setting]);
        }
        Ok(command)
    })
}
