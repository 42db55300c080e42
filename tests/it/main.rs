//! Integration tests: what a stranger may rely on, tried on the built program.
//!
//! One binary, so that it links once. The modules follow the groups of faults that the
//! program must survive; `layering` reads the source instead of running it.

mod common;

mod accept_faults;
mod access_log;
mod activation;
mod bad_config;
mod bad_specs;
mod bind_faults;
mod client_alone;
mod client_orders;
mod client_plan;
mod client_proof;
mod client_status;
mod config_commands;
mod control;
mod control_exposure;
mod control_load;
mod control_reload;
mod deploy;
mod embedding;
mod end_in_any_state;
mod end_to_end;
mod event_stream;
mod exposure;
mod foreign_clients;
mod handover;
mod injected_faults;
mod journal;
mod layering;
mod library;
mod limits;
mod listing;
mod metrics;
mod namespaces;
mod on_bind_error;
mod output;
mod own_datagrams;
mod own_policy;
mod own_sessions;
mod plan_findings;
mod privileges;
mod replanning;
mod reuse_port;
mod running_listeners;
mod sandbox;
mod serve_events;
mod service_manager;
mod settings;
mod settings_orders;
mod shutdown;
mod sources;
mod spread;
mod stampede;
mod startup;
mod supervision;
mod suspending;
mod take_over;
mod tcp_faults;
mod tcp_sessions;
mod threads;
mod udp;
mod udp_abuse;
mod zones;
