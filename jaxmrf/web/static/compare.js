// The slider between the photograph and the painting.

import { $ } from "./dom.js";

export function split(share = Number($("compare").value)) {
  $("compare").value = share;
  $("canvas").style.setProperty("--split", `${share}%`);
  $("canvas").classList.toggle("compared", share > 0);
  $("compare").setAttribute("aria-valuetext", `${Math.round(share)} % photograph, ${Math.round(100 - share)} % painting`);
}

// Shows a picture once it is decoded, so that nothing flickers; only the latest counts.
export function showPicture(url) {
  const after = $("after");
  if (after.dataset.wanted === url) return;
  after.dataset.wanted = url;
  const next = new Image();
  next.src = url;
  next.decode().then(
    () => {
      if (after.dataset.wanted === url) after.src = url;
    },
    () => {},
  );
}

export function setUpCompare() {
  $("compare").addEventListener("input", () => split());
}
