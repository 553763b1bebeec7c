// Two fingers on the lanes: apart and together they zoom, side by side they scroll.

/** Follow fingers on `host`; `view` is what they move, its left edge is that of a ".wave" in it. */
export function followFingers(host, view) {
  const fingers = new Map(); // pointerId → clientX
  let began = null; // {spread, anchor, scale} when the second finger came

  const places = () => {
    const { left } = host.querySelector(".wave").getBoundingClientRect();
    const [one, other] = [...fingers.values()].map((x) => x - left);
    return { middle: (one + other) / 2, spread: Math.max(1, Math.abs(one - other)) };
  };
  const down = (event) => {
    if (event.pointerType !== "touch") return;
    fingers.set(event.pointerId, event.clientX);
    if (fingers.size < 2) return;
    event.stopPropagation(); // it selects nothing, and what the first one began is over
    for (const field of host.querySelectorAll(".wave")) field.dispatchEvent(new PointerEvent("pointercancel"));
    const { middle, spread } = places();
    began = { spread, anchor: view.start + middle / view.pxPerSecond, scale: view.pxPerSecond };
  };
  const move = (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event.clientX);
    if (fingers.size !== 2) return;
    const { middle, spread } = places();
    view.setScale((began.scale * spread) / began.spread, began.anchor, middle);
  };
  const up = (event) => fingers.delete(event.pointerId);
  host.addEventListener("pointerdown", down, { capture: true });
  host.addEventListener("pointermove", move);
  for (const type of ["pointerup", "pointercancel"]) addEventListener(type, up);
}
