// What is asked of a page: an expression with these functions, evaluated anew for each question.
({
  all(selector) {
    if (selector.startsWith('text=')) {
      const wanted = selector.slice(5).trim();
      const says = (e) => (e.tagName === 'INPUT' ? (['submit', 'button', 'reset'].includes(e.type) ? e.value : '') : e.innerText ?? '');
      const found = [...document.querySelectorAll('body *')].filter((e) => !['SCRIPT', 'STYLE'].includes(e.tagName) && says(e).trim() === wanted);
      return found.filter((e) => !found.some((other) => other !== e && e.contains(other)));
    }
    if (/^(xpath=|\/|\()/.test(selector)) {
      const kind = XPathResult.ORDERED_NODE_SNAPSHOT_TYPE;
      const found = document.evaluate(selector.replace(/^xpath=/, ''), document, null, kind, null);
      return Array.from({ length: found.snapshotLength }, (_, at) => found.snapshotItem(at));
    }
    return [...document.querySelectorAll(selector)];
  },
  seen(e) {
    const box = e.getBoundingClientRect();
    const style = getComputedStyle(e);
    return box.width > 0 && box.height > 0 && style.visibility !== 'hidden' && style.display !== 'none';
  },
  name(e) {
    return `<${e.tagName.toLowerCase()}${e.id ? ` id="${e.id}"` : ''}${e.className && e.className.baseVal === undefined ? ` class="${e.className}"` : ''}>`;
  },
  // Where to point at: the middle of the first element that can be seen, once nothing covers it.
  locate(selector) {
    const found = this.all(selector);
    if (found.length === 0) return { problem: `there is no element \`${selector}\`` };
    const e = found.find((e) => this.seen(e));
    if (!e) return { problem: `\`${selector}\` cannot be seen` };
    if (e.disabled) return { problem: `\`${selector}\` is disabled` };
    e.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
    const box = e.getClientRects()[0];
    const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
    const top = document.elementFromPoint(x, y);
    const same = top && (e.contains(top) || top.contains(e) || [...(e.labels ?? [])].some((label) => label.contains(top)));
    if (!same) return { problem: `\`${selector}\` is covered by ${top ? this.name(top) : 'nothing that can be clicked'}` };
    return { ok: true, x, y, element: e };
  },
  point(selector) {
    const { element, ...place } = this.locate(selector);
    return place;
  },
  // Ready to be typed into, with all that is in it marked.
  mark(selector) {
    const { element: e, ...place } = this.locate(selector);
    if (!e) return place;
    if (!e.isContentEditable && !['INPUT', 'TEXTAREA'].includes(e.tagName)) return { final: true, problem: `\`${selector}\` is ${this.name(e)}, which takes no text` };
    if (e.readOnly) return { problem: `\`${selector}\` is read-only` };
    e.focus();
    const special = e.tagName === 'INPUT' && ['date', 'time', 'datetime-local', 'month', 'week', 'color', 'range'].includes(e.type);
    if (special) return { ok: true, special };
    if (e.isContentEditable) getSelection().selectAllChildren(e);
    else e.select();
    return { ok: true, empty: (e.value ?? e.innerText) === '' };
  },
  erase() {
    document.execCommand('delete');
    return { ok: true };
  },
  set(selector, value) {
    const { element: e, ...place } = this.locate(selector);
    if (!e) return place;
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(e, value);
    for (const name of ['input', 'change']) e.dispatchEvent(new Event(name, { bubbles: true }));
    return { ok: e.value === value, final: true, problem: `\`${selector}\` does not take \`${value}\`` };
  },
  choose(selector, value) {
    const { element: e, ...place } = this.locate(selector);
    if (!e) return place;
    if (e.tagName !== 'SELECT') return { final: true, problem: `\`${selector}\` is ${this.name(e)}, and not a list of options` };
    const option = [...e.options].find((option) => option.value === value || option.label.trim() === value);
    if (!option) return { problem: `\`${selector}\` has no option \`${value}\`, but ${[...e.options].map((option) => `\`${option.label.trim()}\``).join(', ')}` };
    option.selected = true;
    for (const name of ['input', 'change']) e.dispatchEvent(new Event(name, { bubbles: true }));
    return { ok: true };
  },
  tick(selector, wanted) {
    const { element: e, ...place } = this.locate(selector);
    if (!e) return place;
    if (!['checkbox', 'radio'].includes(e.type)) return { final: true, problem: `\`${selector}\` is ${this.name(e)}, which cannot be ticked` };
    return { ...place, done: e.checked === wanted };
  },
  expect(wanted) {
    const short = (text) => (text.length > 200 ? `${text.slice(0, 200)}…` : text);
    if (wanted.title !== undefined && document.title !== wanted.title) return { problem: `the title is \`${short(document.title)}\`, not \`${wanted.title}\`` };
    if (wanted.url !== undefined && !location.href.includes(wanted.url)) return { problem: `the URL is \`${short(location.href)}\`, without \`${wanted.url}\`` };
    const { selector } = wanted;
    if (selector === undefined) return { ok: true };
    const found = this.all(selector);
    if (wanted.count !== undefined && found.length !== wanted.count) return { problem: `there are ${found.length} elements \`${selector}\`, not ${wanted.count}` };
    const visible = found.filter((e) => this.seen(e));
    if (wanted.visible === false) return visible.length === 0 ? { ok: true } : { problem: `\`${selector}\` can be seen` };
    if (wanted.count === 0) return { ok: true };
    if (found.length === 0) return { problem: `there is no element \`${selector}\`` };
    if (visible.length === 0) return { problem: `\`${selector}\` cannot be seen` };
    const e = visible[0];
    const text = (e.innerText ?? '').trim();
    if (wanted.text !== undefined && text !== wanted.text.trim()) return { problem: `\`${selector}\` has the text \`${short(text)}\`, not \`${wanted.text}\`` };
    if (wanted.contains !== undefined && !text.includes(wanted.contains)) return { problem: `\`${selector}\` has the text \`${short(text)}\`, without \`${wanted.contains}\`` };
    if (wanted.value !== undefined && e.value !== wanted.value) return { problem: `\`${selector}\` has the value \`${short(String(e.value))}\`, not \`${wanted.value}\`` };
    return { ok: true };
  },
  box(selector) {
    const { element: e, ...place } = this.locate(selector);
    if (!e) return place;
    const box = e.getBoundingClientRect();
    return { ok: true, x: box.left + scrollX, y: box.top + scrollY, width: box.width, height: box.height };
  },
  state(limit) {
    return { ok: true, title: document.title, url: location.href, text: (document.body?.innerText ?? '').slice(0, limit) };
  },
  async loaded() {
    if (document.readyState !== 'complete') await new Promise((done) => addEventListener('load', done, { once: true }));
    return { ok: true };
  },
  // Asks until the answer is good, or final, or the time is up.
  async until(milliseconds, ask) {
    const end = performance.now() + milliseconds;
    for (;;) {
      const answer = await ask();
      if (answer.ok || answer.final || performance.now() >= end) return answer;
      await new Promise((again) => setTimeout(again, 40));
    }
  },
})
