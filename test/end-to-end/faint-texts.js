/** Runs in a page: the texts whose contrast is below 4.5 to 1 (WCAG 2.2, 1.4.3). Its last expression is the answer. */
{
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })

  /** Of these colours laid over each other. */
  const luminance = (...colors) => {
    for (const color of colors) {
      canvas.fillStyle = color
      canvas.fillRect(0, 0, 1, 1)
    }
    const [red, green, blue] = Array.from(canvas.getImageData(0, 0, 1, 1).data, (value) => {
      const part = value / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const backgrounds = (element) =>
    element ? [...backgrounds(element.parentElement), getComputedStyle(element).backgroundColor] : ['#fff']
  const hasText = (element) =>
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== '')
  const isFaint = (element) => {
    const style = getComputedStyle(element)
    const behind = backgrounds(element)
    const one = luminance(...behind)
    const other = luminance(...behind, element instanceof SVGElement ? style.fill : style.color)
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5
  }
  ;[...document.querySelectorAll('body *')]
    .filter((element) => hasText(element) && element.checkVisibility() && isFaint(element))
    .map((element) => element.outerHTML.slice(0, 100))
}
