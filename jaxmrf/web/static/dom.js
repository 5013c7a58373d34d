// The document: finding, making and changing what is in it.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Says something on a button for a moment.
export function flash(button, text, afterwards = () => {}) {
  const before = button.dataset.text ?? button.textContent;
  button.dataset.text = before;
  button.style.minWidth = `${button.offsetWidth}px`;
  button.textContent = text;
  setTimeout(() => {
    button.textContent = before;
    afterwards();
  }, 2500);
}
