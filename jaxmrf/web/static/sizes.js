// Sizes of pictures as options: the longest side, or without a photograph both sides.

const TILE = 16; // sides of tileable pictures are multiples of it

// Returns the size that makes of a run a small one, or a large one.
export function sizeOf(options, longest) {
  const sides = /^(\d+)[x×](\d+)$/.exec(options.size ?? "");
  if (!sides) return String(longest);
  const scale = longest / Math.max(Number(sides[1]), Number(sides[2]));
  const step = options.tileable === "true" ? TILE : 1;
  return sides.slice(1).map((side) => Math.max(step, step * Math.round((Number(side) * scale) / step))).join("x");
}

// Returns the longest side that a size stands for; not a number if it is none.
export const longestOf = (size) => Math.max(...size.split(/[x×]/).map(Number));
