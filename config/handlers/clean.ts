/** Makes text from strangers fit to be shown on one line. */

/** Control characters, line ends, and the marks that reorder what a reader sees (Unicode 9, bidirectional controls). */
const unseen = /[\p{Cc}\p{Zl}\p{Zp}\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]+/gu

/** One line without unseen characters, at most `longest` characters (code points) long. */
export function oneLine(text: string, longest: number): string {
  // Cut before the expensive part: a code point is at most two code units.
  const start = text.toWellFormed().slice(0, longest * 4)
  const line = start.replace(unseen, ' ').trim()
  return Array.from(line).slice(0, longest).join('')
}
