module.exports = (context, payload) => payload;
