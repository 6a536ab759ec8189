// SPDX-License-Identifier: MIT
// Objects, closures, doubles, strings and a regular expression for V8's compilers: node bodies.js STEPS.
'use strict';

class Body {
  constructor(place, speed, mass) {
    this.place = place;
    this.speed = speed;
    this.mass = mass;
  }
}

function pull(a, b) {
  const apart = a.place.map((x, k) => x - b.place[k]);
  const square = apart.reduce((sum, x) => sum + x * x, 0);
  const force = 0.001 / (square * Math.sqrt(square));
  apart.forEach((x, k) => {
    a.speed[k] -= x * b.mass * force;
    b.speed[k] += x * a.mass * force;
  });
}

const steps = Number(process.argv[2]);
const bodies = [0, 1, 2, 3, 4].map((i) => new Body([i, i * 2, 1 / (i + 1)], [0, i / 9, 0], 1 / (i + 2)));
for (let step = 0; step < steps; step++) {
  for (let i = 0; i < 5; i++) for (let j = i + 1; j < 5; j++) pull(bodies[i], bodies[j]);
  for (const body of bodies) body.place = body.place.map((x, k) => x + 0.001 * body.speed[k]);
}
const words = new Map();
for (let i = 0; i < 10 * steps; i++) {
  const word = `w${i * i % 997}`;
  words.set(word, (words.get(word) || 0) + 1);
}
console.log(bodies[0].place[0], JSON.stringify([...words]).replace(/\d+/g, (digits) => digits * 2).length);
