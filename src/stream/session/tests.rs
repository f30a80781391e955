mod hold;
mod protocol;
mod rig;
mod rules;
mod splits;
