/** Draws the readings of a room as a small plot with its scale, its times and the alarm's threshold. */
import { degrees, draw, toTheMinute, toTheSecond } from './dom.js'

const day = 24 * 3600_000
const margin = { top: 10, right: 8, bottom: 20, left: 34 }

/** `readings`: newest first; those of the newest one's last 24 hours are drawn. */
export function plot(room, readings, { width, height, threshold }) {
  const newest = Date.parse(readings[0].at)
  const points = readings
    .map(({ celsius, at }) => ({ celsius, time: Date.parse(at) }))
    .filter(({ time }) => newest - time < day)
    .toReversed()
  const oldest = points[0].time
  const values = points.map(({ celsius }) => celsius)
  const ticks = scale(Math.min(...values), Math.max(...values))
  const [low, high] = [ticks[0], ticks.at(-1)]

  const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom }
  const x = (time) =>
    margin.left + (oldest === newest ? inner.width : ((time - oldest) / (newest - oldest)) * inner.width)
  const y = (celsius) => margin.top + ((high - celsius) / (high - low)) * inner.height
  const at = ({ celsius, time }) => `${x(time).toFixed(1)},${y(celsius).toFixed(1)}`

  const floor = margin.top + inner.height
  const curve = `M${points.map(at).join('L')}`
  const last = points.at(-1)
  const label = `${room}: ${points.length} readings from ${Math.min(...values)} to ${Math.max(...values)} °C, now ${last.celsius} °C`
  const format = newest - oldest < 10 * 60_000 ? toTheSecond : toTheMinute
  const hasThreshold = threshold > low && threshold < high

  return draw(
    'svg',
    { class: 'plot', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label },
    ...ticks.flatMap((tick) => [
      line('grid', margin.left, width - margin.right, y(tick)),
      text(margin.left - 6, y(tick) + 4, 'end', degrees(tick, '°')),
    ]),
    hasThreshold ? line('threshold', margin.left, width - margin.right, y(threshold)) : undefined,
    points.length > 1
      ? draw('path', { class: 'area', d: `${curve}L${x(newest)},${floor}L${x(oldest)},${floor}Z` })
      : undefined,
    draw('path', { class: 'curve', d: curve }),
    draw('circle', { class: 'last', cx: x(last.time), cy: y(last.celsius), r: 4.5 }),
    points.length > 1 ? text(margin.left, height - 4, 'start', format.format(oldest)) : undefined,
    text(width - margin.right, height - 4, 'end', format.format(newest)),
  )
}

/** A few round numbers around what was measured, over two degrees at least. */
function scale(lowest, highest) {
  const spare = Math.max(0, 2 - (highest - lowest)) / 2
  const [from, to] = [lowest - spare, highest + spare]
  const span = to - from
  const step = [1, 2, 5, 10, 20, 50, 100].find((step) => span / step <= 3) ?? 100
  const first = Math.floor(from / step) * step
  const last = Math.ceil(to / step) * step
  return Array.from({ length: (last - first) / step + 1 }, (_, index) => first + index * step)
}

function line(name, from, to, y) {
  return draw('line', { class: name, x1: from, x2: to, y1: y, y2: y })
}

function text(x, y, anchor, content) {
  return draw('text', { x, y, 'text-anchor': anchor }, content)
}
