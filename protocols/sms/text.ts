/** Texts as the air takes them: what may not be in one, how long one may be, and how many segments it takes. */

/** Twilio refuses a longer body (error 21617). */
export const longestBody = 1600

/** The GSM 7-bit default alphabet (3GPP TS 23.038 6.2.1), without the escape. */
const basic = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
)
/** Its extension table (6.2.1.1): each of these takes an escape and a septet. */
const extended = new Set('\f^{}\\[~]|€')

/**
 * How many segments a text takes: 160 septets alone or 153 in each of several (3GPP TS 23.040 9.2.3.24.1), or, when one
 * letter is not in the GSM alphabet, 70 or 67 UTF-16 units. A letter of two units is never cut in half. An empty text takes none.
 */
export function segments(text: string): number {
  const costs = gsmCosts(text)
  return costs
    ? fill(costs, 160, 153)
    : fill(
        Array.from(text, (letter) => letter.length),
        70,
        67,
      )
}

/** The septets of each letter; undefined when one of them is not in the alphabet. */
function gsmCosts(text: string): readonly number[] | undefined {
  const costs: number[] = []
  for (const letter of text) {
    if (basic.has(letter)) costs.push(1)
    else if (extended.has(letter)) costs.push(2)
    else return undefined
  }
  return costs
}

function fill(costs: readonly number[], alone: number, each: number): number {
  const total = costs.reduce((sum, cost) => sum + cost, 0)
  if (total <= alone) return Math.sign(total)
  let count = 1
  let used = 0
  for (const cost of costs) {
    if (used + cost > each) {
      count++
      used = 0
    }
    used += cost
  }
  return count
}

/**
 * The text without what XML 1.0 2.2 or a telephone cannot take: control characters but tab and line feed, lone surrogates,
 * U+FFFE and U+FFFF. Line ends become line feeds.
 */
export function printable(text: string): string {
  if (/^[\n\x20-\x7e]*$/.test(text)) return text
  return text
    .replaceAll(/\r\n?/g, '\n')
    .toWellFormed()
    .replaceAll(/[^\P{Cc}\t\n]|[\uFFFE\uFFFF]/gu, '')
}
