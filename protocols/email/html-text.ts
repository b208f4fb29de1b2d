/** The text of an HTML part, for mail that brings no text of its own. Linear: the HTML is a stranger's. */

/** Elements whose content is no text. */
const hidden = new Set(['head', 'script', 'style', 'title', 'template', 'noscript', 'svg', 'math', 'object'])
const breaking = new Set(
  'address article aside blockquote br dd div dl dt fieldset footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section table tr ul'.split(
    ' ',
  ),
)

/** The names of the characters from 160 to 255, in order. */
const latin =
  'nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml'
const entities = new Map<string, string>([
  ...Object.entries({
    amp: '&',
    lt: '<',
    gt: '>',
    quot: '"',
    apos: "'",
    euro: '€',
    hellip: '…',
    bull: '•',
    trade: '™',
    zwnj: '',
    zwj: '',
  }),
  ...Object.entries({ ndash: '–', mdash: '—', lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', sbquo: '‚', bdquo: '„' }),
  ...Object.entries({ ensp: ' ', emsp: ' ', thinsp: ' ', larr: '←', rarr: '→', check: '✓', Scaron: 'Š', scaron: 'š' }),
  ...latin.split(' ').map((name, index): [string, string] => [name, String.fromCharCode(160 + index)]),
])

export function htmlToText(html: string): string {
  let text = ''
  let position = 0
  while (position < html.length) {
    const open = html.indexOf('<', position)
    text += words(html.slice(position, open < 0 ? undefined : open))
    if (open < 0) break
    // HTML 13.2.5.6: anything else after a `<` makes it a plain letter.
    if (!/^<[a-z/!?]/i.test(html.slice(open, open + 2))) {
      text += '<'
      position = open + 1
      continue
    }
    const end = endOfTag(html, open)
    if (end < 0) break
    const [, slash, name = ''] = /^<(\/?)([a-z][a-z\d]*)/i.exec(html.slice(open, open + 32)) ?? []
    const element = name.toLowerCase()
    if (breaking.has(element)) text += '\n'
    else if (element === 'td' || element === 'th') text += ' '
    position = hidden.has(element) && slash === '' ? afterElement(html, element, end) : end
  }
  return tidy(text)
}

/** One space between words, at most one empty line between paragraphs. */
function tidy(text: string): string {
  const lines = text.split('\n').map((line) => line.replaceAll(/[ \u00a0]+/g, ' ').trim())
  return lines
    .filter((line, index) => line !== '' || lines[index - 1] !== '')
    .join('\n')
    .trim()
}

/** Where the text goes on; -1: the tag never ends. */
function endOfTag(html: string, open: number): number {
  const comment = html.startsWith('<!--', open)
  const end = comment ? html.indexOf('-->', open + 4) : html.indexOf('>', open)
  return end < 0 ? -1 : end + (comment ? 3 : 1)
}

function afterElement(html: string, element: string, from: number): number {
  const pattern = new RegExp(`</${element}[^a-z\\d]`, 'gi')
  pattern.lastIndex = from
  return pattern.exec(html)?.index ?? html.length
}

function words(text: string): string {
  return text
    .replaceAll(/[ \t\r\n\f]+/g, ' ')
    .replaceAll(
      /&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z\d]{2,8}));?/gi,
      (whole, decimal?: string, hex?: string, name?: string) => {
        if (name !== undefined) return entities.get(name) ?? entities.get(name.toLowerCase()) ?? whole
        const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal)
        return code > 31 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : ' '
      },
    )
}
