mod cost;
mod lifecycle;
mod world;
