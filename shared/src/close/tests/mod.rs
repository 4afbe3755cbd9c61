mod cost;
mod current;
mod dated;
mod lifecycle;
mod scale;
mod slow;
mod world;
