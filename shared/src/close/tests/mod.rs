mod cost;
mod current;
mod dated;
mod lifecycle;
mod world;
