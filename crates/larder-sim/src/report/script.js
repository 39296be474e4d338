'use strict';
document.body.classList.add('scripted');
// One course over time at a time; without a script all of them show, one below the other.
for (const tabs of document.querySelectorAll('.tabs')) {
  const buttons = [...tabs.querySelectorAll('button')];
  const show = (chosen) => buttons.forEach((button) => {
    button.setAttribute('aria-pressed', String(button === chosen));
    document.getElementById(button.getAttribute('aria-controls')).hidden = button !== chosen;
  });
  buttons.forEach((button) => button.addEventListener('click', () => show(button)));
  if (buttons.length) show(buttons[Number(tabs.dataset.first)] || buttons[0]);
}
// Pointing at a policy, in a chart or a table, brings its lines forward.
for (const section of document.querySelectorAll('section')) {
  const named = [...section.querySelectorAll('[data-name]')];
  const point = (name) => {
    section.classList.toggle('focus', name !== undefined);
    named.forEach((part) => part.classList.toggle('on', part.dataset.name === name));
  };
  section.addEventListener('pointerover', (event) => {
    const part = event.target.closest('[data-name]');
    point(part ? part.dataset.name : undefined);
  });
  section.addEventListener('pointerleave', () => point(undefined));
}
// Over a plot, a hairline reads off every line at the nearest point; the script knows only what is drawn.
const readout = document.body.appendChild(document.createElement('div'));
readout.className = 'readout';
readout.hidden = true;
for (const chart of document.querySelectorAll('.chart')) {
  const [left, top, right, bottom] = chart.dataset.plot.split(' ').map(Number);
  const [low, high] = chart.dataset.y.split(' ').map(Number);
  const lines = [...chart.querySelectorAll('.line')].map((line) => ({
    name: line.dataset.name,
    colour: getComputedStyle(line).getPropertyValue('--c'),
    points: line.querySelector('path').getAttribute('d').slice(1).split('L').map((pair) => pair.split(' ').map(Number)),
  }));
  const hair = chart.insertBefore(chart.querySelector('.grid').cloneNode(), chart.firstChild);
  hair.setAttribute('class', 'hair');
  hair.setAttribute('y1', top);
  hair.setAttribute('y2', bottom);
  const nearest = (points, x) => points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
  const leave = () => { readout.hidden = true; hair.classList.remove('on'); };
  chart.addEventListener('pointermove', (event) => {
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width;
    if (x < left - 6 || x > right + 6) return leave();
    const read = lines.map((line) => ({ ...line, at: nearest(line.points, x) })).sort((one, other) => one.at[1] - other.at[1]);
    hair.setAttribute('x1', read[0].at[0]);
    hair.setAttribute('x2', read[0].at[0]);
    hair.classList.add('on');
    readout.replaceChildren(...read.map((line) => {
      const row = document.createElement('div');
      const key = row.appendChild(document.createElement('i'));
      key.style.background = line.colour;
      row.appendChild(document.createElement('span')).textContent = line.name;
      const share = low + (bottom - line.at[1]) / (bottom - top) * (high - low);
      row.appendChild(document.createElement('b')).textContent = `${(share * 100).toFixed(1)}%`;
      return row;
    }));
    readout.hidden = false;
    const side = event.clientX + 20 + readout.offsetWidth < window.innerWidth ? 20 : -20 - readout.offsetWidth;
    readout.style.left = `${event.clientX + side}px`;
    readout.style.top = `${Math.max(8, Math.min(event.clientY - 20, window.innerHeight - readout.offsetHeight - 8))}px`;
  });
  chart.addEventListener('pointerleave', leave);
}
