/** The one function that is used of libmime, which brings no types. */
declare module 'libmime' {
  interface Libmime {
    /** The text of an encoded word's content (RFC 2047); never throws. */
    decodeWord(charset: string, encoding: 'B' | 'Q', content: string): string
  }
  const libmime: Libmime
  export = libmime
}
