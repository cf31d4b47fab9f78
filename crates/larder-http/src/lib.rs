//! An HTTP response cache as a tower layer, over [`larder`].
