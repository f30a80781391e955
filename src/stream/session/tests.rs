mod rig;
mod protocol;
mod rules;
mod splits;
