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
