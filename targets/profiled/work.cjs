// CPU-bound work for profiles of Node: work.cjs [MILLISECONDS].
function update(n) {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += Math.sqrt(i) * Math.sin(i);
  return sum;
}
class Entrant {
  constructor(i) {
    this.name = `entrant ${i}`;
  }
  update() {
    return update(2000) + this.name.length;
  }
}
function parse() {
  return JSON.parse(JSON.stringify(Array.from({ length: 500 }, (_, i) => ({ i, s: `x${i}` }))));
}
function tick() {
  for (let i = 0; i < 20; i++) new Entrant(i).update();
  return parse();
}
const end = Date.now() + Number(process.argv[2] ?? 1000);
while (Date.now() < end) tick();
